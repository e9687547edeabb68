"""The terminal keeps the promises of channels, as far as one person at a line of text can tell.

Two things of the kit mean something else here. Nobody delivers a line twice: the far side does not repeat what was
taken. And text is not shown unchanged: what could harm a terminal is spelled out, and a message has one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import trio.testing

from fairlead import Channel
from fairlead.testing import ChannelConformance
from fairlead_cli._terminal import TerminalChannel
from fairlead_cli._text import escape
from fairlead_cli._view import TextView

from .fakes import FakeScreen, TypedLines

TEXTS = (
    "plain words",
    "two\nlines\n\nand a third",
    "astral \U0001f9ed\U0001f469\u200d\U0001f680 and \u00fcml\u00e4ut and \u4e2d\u6587 and e\u0301",
    "zero\u200bwidth\u200djoiners \u202eright to left\u202c end",
    "\x1b[31mred\x1b[0m \x9b2J",
    "long " * 2000 + "end",
)


class TestTerminalConformance(ChannelConformance):
    """A person who types and reads."""

    async def make_worker(self, tmp_path: Path) -> Channel:
        del tmp_path
        self.screen = FakeScreen(terminal=True)
        self.lines = TypedLines()
        self.terminal = TerminalChannel(lambda: self.lines, TextView(self.screen), conversation="kit")
        self.taken: set[str] = set()
        return self.terminal

    async def inbound(self, text: str, external_id: str) -> None:
        if external_id in self.taken:
            return
        if self.terminal.busy:
            self.terminal.unanswered("answered")
        self.lines.type(text)
        await trio.testing.wait_all_tasks_blocked()
        if self.terminal.failed is None:
            self.taken.add(external_id)

    async def outbox(self) -> Sequence[str]:
        return self.screen.shown.splitlines()

    async def test_hostile_text_arrives_unchanged(self, tmp_path: Path) -> None:
        """Out: spelled out where it could harm, else unchanged. In: any line."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            for text in TEXTS:
                before = self.screen.shown
                assert "sent" == (await self.send(channel, where, text)).status
                assert escape(text) + "\n" == self.screen.shown[len(before) :]
                await self.heard(inbox, text.replace("\n", " "))
