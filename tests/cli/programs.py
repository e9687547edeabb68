"""The command as real processes: with pipes, and at a terminal."""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen

COMMAND = (sys.executable, "-m", "fairlead_cli")
SECONDS = 30.0
"""For what takes one, on a busy machine."""
_WAITING = re.compile(r"(?:\x1b\[2m)?…(?:\x1b\[0m)?(?:\r\x1b\[K|\Z)")
"""The mark that stands there while nothing comes, and what takes it away."""
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@frozen
class Home:
    """A directory to work in, with a journal of its own and nothing of the machine's configuration."""

    path: Path
    variables: Mapping[str, str] = field(factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        ours = ("FAIRLEAD_", "OPENAI_", "ANTHROPIC_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**inherited, "FAIRLEAD_DATA": str(self.path / "data"), "TERM": "xterm", **self.variables}

    def configure(self, text: str) -> None:
        """Write this into the fairlead.toml, behind what is there."""
        with (self.path / "fairlead.toml").open("a", encoding="utf-8") as file:
            file.write(text)

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command to its end, with pipes."""
        return subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            cwd=self.path,
            env=self.environment,
            timeout=SECONDS,
            check=False,
        )

    @contextmanager
    def start(self, *arguments: str) -> Iterator[Program]:
        """Start the command with pipes; whatever is left of it at the end is killed."""
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.path,
            env=self.environment,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            yield from _attended(Program(process, process.stdin.fileno(), process.stdout.fileno()))

    @contextmanager
    def sit(self, *arguments: str) -> Iterator[Program]:
        """Start the command at a terminal of its own, as its controlling one."""
        master, slave = os.openpty()
        # The leader of a new session that opens a terminal gets it as its controlling one: Ctrl-C is then a signal.
        line = f"exec {shlex.join([*COMMAND, *arguments])} <>{os.ttyname(slave)} >&0 2>&0"
        process = subprocess.Popen(["/bin/sh", "-c", line], start_new_session=True, cwd=self.path, env=self.environment)
        try:
            yield from _attended(Program(process, master, master))
        finally:
            os.close(slave)
            os.close(master)


def _attended(program: Program) -> Iterator[Program]:
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.process.kill()
        program.process.wait(SECONDS)


class Program:
    """A running command, to be typed to and read from."""

    def __init__(self, process: subprocess.Popen[bytes], writes: int, reads: int) -> None:
        self.process = process
        self.shown = ""
        """All that it has printed, without the terminal's control sequences."""
        self._writes = writes
        self._reads = reads
        self._raw = b""
        self._read_to = 0

    @property
    def terminal(self) -> int:
        """The far end of its terminal, for questions about it."""
        return self._reads

    def type(self, text: str) -> None:
        os.write(self._writes, text.encode())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def expect(self, words: str) -> str:
        """Wait until these words are printed behind those that were expected before; what stands before them."""
        deadline = time.monotonic() + SECONDS
        while (end := self.shown.find(words, self._read_to)) < 0:
            left = deadline - time.monotonic()
            silent = not self._more(min(left, 0.2))
            if left <= 0 or (silent and self.process.poll() is not None and not self._more(0)):
                raise AssertionError(f"expected {words!r}, found:\n{self.shown[self._read_to :]}")
        before = self.shown[self._read_to : end]
        self._read_to = end + len(words)
        return before

    def wait(self) -> int:
        """Wait for the end of the program; its exit code. What it still prints is read."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"expected the end, found:\n{self.shown[self._read_to :]}"
            self._more(0.05)
        while self._more(0):
            continue
        return self.process.returncode

    def _more(self, seconds: float) -> bool:
        """Read what comes in that time; False where nothing did."""
        ready, _, _ = select.select([self._reads], [], [], seconds)
        try:
            data = os.read(self._reads, 65_536) if ready else b""
        except OSError:  # the other end of a terminal was closed
            data = b""
        self._raw += data
        shown = _WAITING.sub("", self._raw.decode("utf-8", "replace"))
        self.shown = _CONTROLS.sub("", shown).replace("\r\n", "\n")
        return bool(data)
