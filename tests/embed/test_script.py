"""The plain program of the examples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .programs import EXAMPLES, LIMIT, environ


def test_questions_are_answered_in_their_order(tmp_path: Path) -> None:
    """Each in a session of its own, eight at a time."""
    questions = ["what is 6 * 7?", 'use stock {"item": "tea"}', *(f"say {number}" for number in range(40))]
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=EXAMPLES,
        env=environ(tmp_path),
        input="\n".join(questions),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert ["6 * 7 = 42.", "stock: 12 of tea", *map(str, range(40))] == done.stdout.splitlines()
