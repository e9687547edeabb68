"""Lines from a person or a pipe, read without blocking trio."""

from __future__ import annotations

import codecs
import os
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CLEARED", "DescriptorLines", "EditedLines", "Lines", "open_lines"]

CLEARED = "\x03"
"""Stands for a line that was thrown away with Ctrl-C."""


class Lines(ABC):
    """A source of lines."""

    @abstractmethod
    async def next(self, prompt: str) -> str | None:
        """The next line without its end; `CLEARED` after Ctrl-C; None where the input ended.

        Cancelled: a line that was not whole yet is lost.
        """

    def close(self) -> None:
        """Give the terminal back as it was."""


class DescriptorLines(Lines):
    """Lines of a file descriptor as the terminal or the pipe gives them; the kernel does the editing."""

    def __init__(self, descriptor: int, show_prompt: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._show_prompt = show_prompt
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text = ""
        self._ended = False

    async def next(self, prompt: str) -> str | None:
        self._show_prompt(prompt)
        while "\n" not in self._text and not self._ended:
            # Not trio's FdStream: it sets O_NONBLOCK, which the shell's own terminal would share.
            try:
                await _readable(self._descriptor)
            except trio.Cancelled:
                self._show_prompt("\n")  # whatever comes next begins a line of its own
                raise
            data = os.read(self._descriptor, 65_536)
            self._ended = not data
            self._text += self._decode(data, final=self._ended)
        line, newline, self._text = self._text.partition("\n")
        if line or newline:
            return line.removesuffix("\r")
        self._show_prompt("\n")
        return None


async def _readable(descriptor: int) -> None:
    try:
        await trio.lowlevel.wait_readable(descriptor)
    except PermissionError:  # epoll refuses files and /dev/null: they never have to be waited for
        await trio.lowlevel.checkpoint()


class EditedLines(Lines):
    """Lines edited with GNU readline. Its history ends with the program: an erased session leaves no file behind.

    readline blocks its thread. While it does, Ctrl-C is an ordinary key for it, bound to a macro: throw the line away,
    put a literal ^C in its place and accept. A thread that sits in readline could not be told of a signal.
    """

    def __init__(self) -> None:
        import readline  # noqa: PLC0415  # only where a person types; it changes the terminal
        import termios  # noqa: PLC0415  # not on every platform

        self._readline = readline
        self._termios: Any = termios
        self._descriptor = sys.stdin.fileno()
        self._saved = termios.tcgetattr(self._descriptor)
        readline.parse_and_bind(r'"\C-c": "\C-a\C-k\C-v\C-c\C-m"')
        readline.set_auto_history(False)

    async def next(self, prompt: str) -> str | None:
        self._take_interrupt_key()
        try:
            line = await trio.to_thread.run_sync(self._read, prompt, abandon_on_cancel=True)
        finally:
            self.close()
        if line is None or line.endswith(CLEARED):
            return line and CLEARED
        if line.strip():
            self._readline.add_history(line)
        return line

    @staticmethod
    def _read(prompt: str) -> str | None:
        try:
            return input(prompt)
        except EOFError:
            sys.stdout.write("\n")  # Ctrl-D leaves the cursor behind the prompt
            return None

    def _take_interrupt_key(self) -> None:
        changed = self._termios.tcgetattr(self._descriptor)
        changed[6][self._termios.VINTR] = b"\x00"
        self._termios.tcsetattr(self._descriptor, self._termios.TCSADRAIN, changed)

    def close(self) -> None:
        self._termios.tcsetattr(self._descriptor, self._termios.TCSADRAIN, self._saved)


def open_lines(show_prompt: Callable[[str], None], *, edited: bool = True) -> Lines:
    """The best way to read lines here: edited on a terminal with GNU readline, plain elsewhere."""
    if edited and sys.stdin.isatty() and sys.stdout.isatty() and _has_gnu_readline():
        return EditedLines()
    return DescriptorLines(sys.stdin.fileno(), show_prompt if sys.stdin.isatty() else _ask_nothing)


def _ask_nothing(prompt: str) -> None:
    """A pipe is not asked."""


def _has_gnu_readline() -> bool:
    """libedit, which some Pythons have instead, does not understand the macro."""
    try:
        import readline  # noqa: PLC0415  # not on every platform
    except ImportError:
        return False
    return "libedit" not in (readline.__doc__ or "")
