"""A terminal for tests: streams that claim to be one, and a person who types."""

from __future__ import annotations

import io
import math
import re

import trio

from fairlead_cli._lines import Lines
from fairlead_cli._screen import Screen

_MARK = re.compile(r"(?:\x1b\[2m)?…(?:\x1b\[0m)?(?:\r\x1b\[K|\Z)")


class Stream(io.StringIO):
    """A text stream in memory; a terminal where told so."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a StringIO has none, a terminal has one
        return "utf-8"

    def isatty(self) -> bool:
        return self._terminal


class FakeScreen(Screen):
    """A screen whose streams can be read; with a terminal, both are the same one, as on a desk."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.output = Stream(terminal=terminal)
        self.errors = self.output if terminal else Stream()
        super().__init__(self.output, self.errors)

    @property
    def shown(self) -> str:
        """What stands on standard output, without the mark that is shown while nothing comes."""
        return _MARK.sub("", self.output.getvalue())

    @property
    def noted(self) -> str:
        return self.errors.getvalue()


class TypedLines(Lines):
    """Lines that a test types; None ends the input."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.closed = False
        self._send, self._receive = trio.open_memory_channel[str | None](math.inf)
        self._prompted = trio.Event()

    def type(self, line: str | None) -> None:
        self._send.send_nowait(line)

    async def wait_prompt(self) -> None:
        """Until a line is waited for; from then on for the next one."""
        await self._prompted.wait()
        self._prompted = trio.Event()

    async def next(self, prompt: str) -> str | None:
        self.prompts.append(prompt)
        self._prompted.set()
        return await self._receive.receive()

    def close(self) -> None:
        self.closed = True
