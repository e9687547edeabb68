"""The README's first two commands are the promise of the project; `.ci/run` types them as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .blocks import ROOT, blocks

FIRST = 'pip install uv && uv run fairlead chat "What is 17 * 23, and what day of the week is 2027-03-01?"'
SECOND = "uv run tox"


def test_first_two_commands_are_the_promised_ones() -> None:
    """They stand first, each in a block of its own, and alone."""
    shown = [block.text.strip() for block in blocks(ROOT / "README.md")]
    assert [FIRST, SECOND] == shown[:2]


def test_continuous_integration_types_them() -> None:
    """Both end the run on a bare machine."""
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert [FIRST.removeprefix("pip install uv && "), SECOND] == lines[-2:]


def test_first_command_answers_on_a_machine_with_nothing(tmp_path: Path) -> None:
    """No key, no file, no network: the answer is right, and the tools that gave it are shown."""
    question = FIRST.partition("fairlead chat ")[2].strip('"')
    program = Path(sys.executable).parent / "fairlead"
    environ = {"PATH": str(program.parent), "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [program, "chat", question], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "391" in done.stdout
    assert "Monday" in done.stdout
    assert "calculate(" in done.stderr
    assert "weekday(" in done.stderr
