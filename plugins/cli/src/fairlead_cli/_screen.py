"""Where the command writes: answers to standard output, everything about them to standard error."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

__all__ = ["Screen"]

_STYLES = {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Screen:
    """Two streams that may be one terminal. It knows which has an unfinished line, so that no two lines run together.

    What it is given must be escaped already where others wrote it (`_text.escape`); the colours are its own.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.out = _tolerant(out if out is not None else sys.stdout)
        self.err = _tolerant(err if err is not None else sys.stderr)
        self.terminal = self.out.isatty()
        """Standard output is a terminal."""
        self._shared = self.terminal and self.err.isatty()
        self._answering = False
        """The last line on standard output has no end yet."""
        self.noting = False
        """The last line on standard error has no end yet."""
        self._waiting = False
        """A mark stands in an empty line, which whatever comes next takes away."""

    def write(self, text: str) -> None:
        """A piece of the answer; lines may stay unfinished."""
        if text:
            self.rest()
            if self._shared:
                self._end_note()
            self.out.write(text)
            self.out.flush()
            self._answering = not text.endswith("\n")

    def wait(self) -> None:
        """Show that something is awaited, on a terminal that can take it away again."""
        if self._shared and not (self._waiting or self._answering or self.noting or _is_plain()):
            self.err.write(paint("…", "dim", self.err))
            self.err.flush()
            self._waiting = True

    def rest(self) -> None:
        """Take away what `wait` showed."""
        if self._waiting:
            self.err.write("\r\x1b[K")
            self.err.flush()
            self._waiting = False

    def prompt(self, text: str) -> None:
        """Ask for a line; whoever answers ends it by pressing Enter. A file that keeps answers gets no questions."""
        self.rest()
        stream = self.err if self.err.isatty() or not self.terminal else self.out
        stream.write(text)
        stream.flush()

    def line(self, text: str = "", style: str = "") -> None:
        """A whole line on standard output."""
        self.end_answer()
        self.write(paint(text, style, self.out) + "\n")

    def note(self, text: str, style: str = "dim") -> None:
        """A whole line about what happens, on standard error."""
        self.begin_note(text, style)
        self._end_note()

    def begin_note(self, text: str, style: str = "dim") -> None:
        """The start of a line on standard error that `end_note` may finish."""
        self.rest()
        self._end_note()
        if self._shared:
            self.end_answer()
        self.err.write(paint(text, style, self.err))
        self.err.flush()
        self.noting = True

    def end_note(self, text: str, style: str = "dim") -> None:
        """The rest of the line that `begin_note` began."""
        self.err.write(paint(text, style, self.err))
        self._end_note()

    def end_answer(self) -> None:
        """Finish the line on standard output that was begun, if there is one."""
        if self._answering:
            self.write("\n")

    def json(self, value: Any) -> None:
        """One JSON value on a line of its own; a terminal gets no control character of it."""
        plain = self.terminal or not _is_utf8(self.out)
        self.write(json.dumps(value, ensure_ascii=plain) + "\n")

    def _end_note(self) -> None:
        if self.noting:
            self.err.write("\n")
            self.err.flush()
            self.noting = False


def paint(text: str, style: str, stream: TextIO) -> str:
    """The text in a style, where the stream is a terminal that shows it (https://no-color.org)."""
    if not style or not text or not stream.isatty() or _is_plain():
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def _is_plain() -> bool:
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def _is_utf8(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"


def _tolerant(stream: TextIO) -> TextIO:
    """The stream, showing what its encoding lacks as an escape instead of failing."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return stream
