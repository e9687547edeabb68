"""A process that asks for an approval is killed at each write: one grant makes at most one call, and none is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).parent / "approving_child.py"
WRITES = 8
"""Of a life without a death: the message, the answer with its question, the sending and its end, the decision, the use,
the result, and the answer; what is behind them changes nothing about the approval."""


def live(directory: Path, number: int, when: str, effect: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, str(CHILD), str(directory), str(number), when, effect]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_killed_at_each_write_a_grant_starts_at_most_one_call(number: int, when: str, tmp_path: Path) -> None:
    """Between the decision and the start, between the start and the result, and everywhere else.

    A call that may have been made is unknown, and not made again because its approval is still there.
    """
    code, _ = live(tmp_path, number, when, "once")
    assert -signal.SIGKILL == code
    code, told = live(tmp_path, 0, when, "once")
    assert 0 == code
    effects = tmp_path / "effects"
    made = len(effects.read_text()) if effects.exists() else 0
    assert (1, 1) == (told["ended"], len(told["used"]))
    assert told["results"] in ([""], ["unknown"])
    assert 1 == made or told["results"] == ["unknown"]
    assert made <= 1


@pytest.mark.parametrize("number", range(5, WRITES))
def test_call_that_may_be_made_again_needs_another_approval(number: int, tmp_path: Path) -> None:
    """What only reads may run again, and each start has a grant of its own."""
    live(tmp_path, number, "after", "read")
    code, told = live(tmp_path, 0, "after", "read")
    assert (0, 1, [""]) == (code, told["ended"], told["results"])
    assert len((tmp_path / "effects").read_text()) <= len(told["used"]) == len(set(told["used"]))
