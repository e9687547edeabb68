"""An observer that hands what it sees to a thread, which writes it: a slow disk or reader delays nobody."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio

from fairlead import Finding, Observer, Settings
from fairlead.errors import PluginLoadError
from fairlead.events import Record
from fairlead_logs._files import File, Stream, Target
from fairlead_logs._line import LEVELS, level_of, line_of

__all__ = ["Log"]

MOST_WAITING = 10_000
"""Lines; what comes while so many wait is counted, and not written."""
MB = 1_000_000
CLOSE_SECONDS = 4.0
"""For the lines that wait at the end; a worker has 5."""


class Log(Observer):
    """The log of one table."""

    def __init__(self, settings: Settings, target: Target | None = None, *, most_waiting: int = MOST_WAITING) -> None:
        """`target`: where lines go; None: where the options say."""
        options = settings.options
        self._least = LEVELS.index(options.get("level", "info"))
        self._content: bool = options.get("content", False)
        file = options.get("file", "")
        self._path = settings.data_dir / Path(file).expanduser() if file else None
        self._max_bytes, self._keep = int(options.get("max_mb", 10) * MB), options.get("keep", 5)
        self._waiting: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self._most_waiting = most_waiting
        self._lost = 0
        self._fault = ""
        self._target: Target = target or Stream()
        self._thread: threading.Thread | None = None

    async def open(self) -> None:
        """`PluginLoadError`: the file cannot be written."""
        if self._path is not None:
            file = File(self._path, self._max_bytes, self._keep)
            try:
                await trio.to_thread.run_sync(file.open)
            except OSError as error:
                problem = f"the file {self._path} cannot be written: {error.strerror}"
                raise PluginLoadError(problem, next_step="name another `file`, or none") from error
            self._target = file
        self._thread = threading.Thread(target=self._write_all, name=f"logs {self.name}", daemon=True)
        self._thread.start()

    async def observe(self, record: Record) -> None:
        """Never waits."""
        if LEVELS.index(level_of(record.event)) < self._least:
            return
        if self._waiting.qsize() >= self._most_waiting:
            self._lost += 1
        else:
            self._waiting.put(record)

    async def close(self) -> None:
        """What waits is still written, for 4 s at most."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(thread.join, CLOSE_SECONDS)

    async def check(self) -> Sequence[Finding]:
        """How it is, for ``fairlead doctor``."""
        where = str(self._path or "standard error")
        if self._fault:
            return [Finding(where, ok=False, detail=self._fault, next_step="make room, or name another `file`")]
        return [Finding(where, ok=True, detail="lines are written here")]

    # -- in the thread

    def _write_all(self) -> None:
        while (lines := self._lines()) is not None:
            try:
                self._target.write(lines)
                self._fault = ""
            except (OSError, ValueError) as error:
                self._lost += len(lines)
                self._complain(error)
        self._target.close()

    def _lines(self) -> list[str] | None:
        """All that wait; None at the end."""
        found = list(self._taken())
        if lost := self._lost if found else 0:
            self._lost -= lost
            found.insert(0, f'{{"level":"error","event":"lines_lost","count":{lost}}}\n')
        return found or None

    def _taken(self) -> Iterator[str]:
        record = self._waiting.get()
        while record is not None:
            yield line_of(record, content=self._content) + "\n"
            try:
                record = self._waiting.get_nowait()
            except queue.Empty:
                return
        self._waiting.put(None)  # for the next look: what came before the end is written first

    def _complain(self, error: Exception) -> None:
        """Once, until it works again."""
        if not self._fault:
            self._fault = f"lines cannot be written: {error}"
            if self._path is not None and sys.stderr is not None:
                sys.stderr.write(f"{self.name}: {self._path}: {self._fault}\n")
