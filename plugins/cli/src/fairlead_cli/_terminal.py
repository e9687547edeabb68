"""The terminal as a channel: lines in, answers out."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from fairlead import Address, Capabilities, Channel, Delivery, Inbound, Principal, Text
from fairlead.errors import FairleadError
from fairlead_cli._lines import CLEARED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fairlead import Draft, Inbox, Outbound
    from fairlead_cli._lines import Lines
    from fairlead_cli._view import View

__all__ = ["TerminalChannel", "system_user"]

PROMPT = "> "
CANCEL_SECONDS = 0.05
"""Between two tries to cancel a turn that has not begun."""


def system_user() -> Principal:
    """Who sits at the terminal, as the operating system knows it (not as ``$USER`` claims)."""
    try:
        import pwd  # noqa: PLC0415  # not on every platform

        name = pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        name = f"uid-{os.getuid()}" if hasattr(os, "getuid") else "user"
    return Principal(f"terminal:{name}", name)


class TerminalChannel(Channel):
    """One conversation with the person at the terminal: it asks for the next line when the last one is answered."""

    def __init__(
        self,
        open_lines: Callable[[], Lines] | None,
        view: View,
        *,
        message: str | None = None,
        conversation: str = "main",
        author: Principal | None = None,
    ) -> None:
        """With a *message* it says only that, and is done when it is answered; no line is then read."""
        self.name = "terminal"
        self.capabilities = Capabilities(streaming=True)
        self.failed: FairleadError | None = None
        """Why the last message could not be handed in."""
        self.outcome = ""
        """Of the last message: ``answer`` or ``notice`` as in `Outbound.kind`, ``refused``, ``closed`` (nobody
        reads the output any more), whatever `unanswered` was given, or empty."""
        self.before_answer: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        """Awaited before an answer is shown, so that what led to it is shown first."""
        self._open_lines = open_lines
        self._lines: Lines | None = None
        self._view = view
        self._message = message
        self.conversation = conversation
        """The name of the conversation; the core makes the session's name of it. Fixed from `run` on."""
        self._author = author if author is not None else system_user()
        self._inbox: Inbox | None = None
        self._reading: trio.CancelScope | None = None
        self.interrupted = False
        """Ctrl-C was pressed for the message that waits for its answer."""
        self._answered = trio.Event()
        self._answered.set()

    @property
    def once(self) -> bool:
        """It says one message only."""
        return self._message is not None

    @property
    def address(self) -> Address:
        """The one place of this channel."""
        return Address(self.name, conversation=self.conversation)

    async def open(self) -> None:
        if self._open_lines is not None:
            self._lines = self._open_lines()

    async def close(self) -> None:
        if self._lines is not None:
            self._lines.close()

    async def run(self, inbox: Inbox) -> None:
        self._inbox = inbox
        inbox.ready(f"terminal of {self._author.name}")
        if self._message is not None:
            await self._say(inbox, self._message)
            return
        leaving = False
        while (line := await self._read()) is not None:
            if line == CLEARED:
                if leaving:
                    return
                self._view.note("(Ctrl-C again, or Ctrl-D, leaves)")
            elif line.strip():
                await self._say(inbox, line)
            leaving = line == CLEARED

    async def _read(self) -> str | None:
        if self._lines is None:
            return None
        with trio.CancelScope() as self._reading:
            return await self._lines.next(PROMPT)
        self._reading = None
        return CLEARED

    async def _say(self, inbox: Inbox, text: str) -> None:
        """Hand a message in and wait until it is answered, refused or cancelled."""
        self._answered, self.outcome, self.failed = trio.Event(), "", None
        self.interrupted = False
        try:
            # Each line that is typed is an event of its own.
            typed = Inbound(self.address, self._author, (Text(text),), secrets.token_hex(8))
            receipt = await inbox.accept(typed)
        except FairleadError as error:
            self.failed = error
            if not self.once:  # else it is the command's own error
                self._view.note(error.problem, level="error")
            self._answered.set()
            return
        if receipt.status == "refused":
            self.outcome = "refused"
            self._view.note(receipt.notice or "The message was refused.", level="error")
            self._answered.set()
        elif not self._answered.is_set():
            self._view.wait()
        try:
            await self._answered.wait()
        finally:
            self._view.rest()

    @property
    def busy(self) -> bool:
        """A message waits for its answer."""
        return not self._answered.is_set()

    async def interrupt(self) -> None:
        """What Ctrl-C means: cancel the turn that runs; at the prompt, throw the line away."""
        self.interrupted = self.busy
        if self._inbox is not None and self.busy:
            # A turn that waits for its place cannot be cancelled yet, and the core has no event for its beginning.
            while not (await self._inbox.cancel(self.address) or self._answered.is_set()):  # noqa: ASYNC110  # as above
                await trio.sleep(CANCEL_SECONDS)
        elif self._reading is not None:
            self._reading.cancel()

    def unanswered(self, outcome: str) -> None:
        """The turn ended, and nothing will be sent for it."""
        self.outcome = outcome
        self._answered.set()

    async def preview(self, draft: Draft) -> None:
        if draft.address.conversation == self.conversation:
            with suppress(BrokenPipeError):  # `send` will say it
                self._view.grow(draft)
        await trio.lowlevel.checkpoint()

    async def send(self, outbound: Outbound) -> Delivery:
        if outbound.address.conversation != self.conversation:
            # Left by a process that died; nobody here waits for it.
            self._view.note(f"An answer in the conversation {outbound.address.conversation}:")
            self._view.finish(outbound)
            return Delivery("sent", external_id=outbound.id)
        try:
            await self.before_answer()
            self._view.finish(outbound)
            self.outcome = outbound.kind
        except BrokenPipeError:
            self.outcome = "closed"
            return Delivery("failed", reason="whoever read the output has gone away")
        finally:
            self._answered.set()
        return Delivery("sent", external_id=outbound.id)
