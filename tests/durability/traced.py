"""Lives of processes under strace, which kills them or has the disk fail from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .killpoints.run import Point, look

__all__ = ["ROOT", "STRACE", "alone", "injecting", "needs_strace", "told_in", "wrong_after"]

ROOT = Path(__file__).parents[2]
STRACE = shutil.which("strace") or "strace"
needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None and not os.environ.get("CI"), reason="needs strace: apt-get install strace"
)


def alone(workload: str, directory: Path, *tracer: str) -> int:
    """One life in a process of its own, perhaps traced; its status."""
    command = [*tracer, sys.executable, "-m", "tests.durability.killpoints.alone", workload, str(directory)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode


def injecting(what: str, trace: Path | None = None) -> tuple[str, ...]:
    """The tracer that does this to calls: ``fdatasync:error=EIO:when=3``."""
    return (STRACE, "-f", "-qq", "-o", str(trace or os.devnull), "-e", f"inject={what}")


def told_in(directory: Path) -> list[list[Any]]:
    return [json.loads(line) for line in (directory / "told").read_text().splitlines()]


def wrong_after(workload: str, directory: Path) -> list[str]:
    """What breaks the law after all lives in a directory, of which the last ended by itself."""
    told = told_in(directory)
    began = max(place for place, words in enumerate(told) if words[0] == "began")
    return list(look(Point(workload, (0,)), directory, told, told[began:]))
