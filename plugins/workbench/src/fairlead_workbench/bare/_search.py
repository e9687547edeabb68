"""Searches files for a regular expression, as a program of its own: a pattern that never ends is killed with it.

It reads one JSON object from its standard input and writes one a line: matches, and at the end what became of it.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import stat
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

from ._looking import Limits, walk
from ._names import matches
from ._places import Place, Refusal, Workspace, read_regular

__all__ = ["main"]

MEMORY = 400 << 20
"""Bytes of address space: a pattern such as ``((a{9999}){9999}){9999}`` asks for more."""
LEFT_OUT = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv"})
"""Directories that hold what nobody wrote here; one that the path itself names is searched."""


class OutOfTime(Exception):
    """Raised by the alarm, also in the middle of a match: the engine looks for signals while it backtracks."""


@dataclass
class Search:
    """One search. The fields without a default and the limits after them are the keys of the request."""

    root: str
    pattern: str
    path: str
    glob: str
    seconds: float
    max_matches: int
    max_bytes: int
    """Of one file; larger ones are left out."""
    line_chars: int
    """Of a line as it is shown, around the match."""
    found: int = 0
    files: int = 0
    binary: int = 0
    unread: int = 0
    """Files that could not be read, or are too large."""
    at: str = "the pattern itself"
    """What is being worked on."""
    limits: Limits = field(default_factory=lambda: Limits(left_out=LEFT_OUT))

    def run(self, output: TextIO) -> dict[str, Any]:
        """Write the matches; what became of the search."""
        try:
            expression = _compile(self.pattern)
            with Workspace(self.root).locate(self.path) as place:
                for one in self._files(place):
                    self.at = one.shown
                    if not self._search(one, expression, output):
                        return self._report("enough")
        except OutOfTime:
            return self._report("time")
        except MemoryError:
            return self._report("memory")
        except Refusal as refusal:
            return {"refused": refusal.problem, "next": refusal.next_step}
        return self._report("")

    def _report(self, stopped: str) -> dict[str, Any]:
        skipped = {"that are no UTF-8 text": self.binary, "that are too large or not permitted": self.unread}
        words = [f"files {words}: {count}" for words, count in skipped.items() if count]
        left_out = [*words, *self.limits.words()]
        return {"found": self.found, "files": self.files, "left_out": left_out, "stopped": stopped, "at": self.at}

    def _files(self, place: Place) -> Iterator[Place]:
        """Every regular file that the glob takes; the place itself where it is a file."""
        if place.name and stat.S_ISREG(os.lstat(place.name, dir_fd=place.parent).st_mode):
            yield place
            return
        above = len(place.path) + 1 if place.path else 0
        for found in walk(place, self.limits):
            regular = stat.S_ISREG(found.info.st_mode)
            if regular and (not self.glob or matches(found.place.path[above:], self.glob)):
                yield found.place

    def _search(self, place: Place, expression: re.Pattern[str], output: TextIO) -> bool:
        """Write the matches of one file; whether more are wanted."""
        try:
            data = read_regular(place, self.max_bytes)[0]
        except (Refusal, OSError):
            self.unread += 1
            return True
        self.files += 1
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            self.binary += 1
            return True
        for number, line in enumerate(text.split("\n"), 1):
            found = expression.search(line)
            if found is None:
                continue
            if self.found == self.max_matches:
                return False
            self.found += 1
            shown = _around(line.rstrip("\r"), found.start(), self.line_chars)
            output.write(json.dumps({"file": place.shown, "line": number, "text": shown}) + "\n")
        return True


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubtful patterns
            return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise Refusal(
            f"{pattern!r:.200} is no regular expression of Python: {error}",
            "put \\ before ( [ { . * + ? to mean itself",
        ) from None


def _around(line: str, at: int, chars: int) -> str:
    """The line, or of a long one the part around its match."""
    if len(line) <= chars:
        return line
    start = max(0, min(at - chars // 4, len(line) - chars))
    end = start + chars
    return f"{'...' if start else ''}{line[start:end]}{'...' if end < len(line) else ''}"


def _ring(_signum: int, _frame: object) -> None:
    raise OutOfTime


def main() -> None:
    """Do what the standard input says."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    search = Search(**json.load(sys.stdin))
    signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, search.seconds)
    report = search.run(sys.stdout)
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stdout.write(json.dumps(report) + "\n")
