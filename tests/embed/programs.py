"""Programs that the tests start: the examples as their readers start them, and small hosts of the tests' own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PAGE = ROOT / "docs" / "how-to" / "embed.md"
LIMIT = 30.0
"""Seconds for what takes one or two, on a busy machine."""


def environ(home: Path) -> dict[str, str]:
    """Nothing of this machine but the programs."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "error::ResourceWarning",
    }


def typed(program: str) -> list[str]:
    """The line of the page that starts an example, as its readers type it."""
    (line,) = [line for line in PAGE.read_text("utf-8").splitlines() if program in line and line.startswith("$ ")]
    return line.removeprefix("$ ").partition("   ")[0].split()


@contextmanager
def serving(command: list[str], home: Path) -> Iterator[httpx2.Client]:
    """Start a server of the examples at a free port; a client of it. It is stopped as people stop it, and ends well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [word.replace("8000", port) for word in command],
            cwd=EXAMPLES,
            env=environ(home),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_listening(int(port), process, home / "log")
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT) as client:
            yield client
    finally:
        process.terminate()
        process.wait(LIMIT)
        print((home / "log").read_text())  # noqa: T201  # pytest shows it with a failure


def wait_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)  # real time: another process starts
    raise AssertionError(log.read_text())


def run(program: str, *arguments: str, home: Path, text: str = "") -> tuple[str, float]:
    """Run a program to its end; what it said, and how many seconds it took from its own ``END`` to the end.

    `text` is its input. It must end with 0.
    """
    done = subprocess.run(
        [sys.executable, "-c", f"import time\n{textwrap.dedent(program)}", *arguments],
        env=environ(home),
        input=text,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    ended = time.time()
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr
    said, _, at = done.stdout.partition("END ")
    return said, ended - float(at or ended)
