"""The terminal as a channel: lines in, answers out."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from fairlead import Address, Capabilities, Channel, Data, Delivery, Inbound, Principal, Text
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
        self.capabilities = Capabilities(streaming=True, media=frozenset({"application/json"}))
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
        self._asked: set[str] = set()
        """Approvals that the turn waits for: whoever sits here may decide, and is given the prompt for it."""
        self._news = trio.Event()
        """The turn has an answer or a question."""
        self._gone = False
        """No line will come any more."""

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
            while self.busy and (line := await self._read()) is not None:  # asked for an approval
                if line != CLEARED:
                    await self._say(inbox, line)
                elif self.busy:  # else the answer is there
                    await self._give_up()
            await self._leave()
            return
        leaving = False
        while (line := await self._read()) is not None:
            if line == CLEARED and self.busy:
                await self._give_up()
            elif line == CLEARED:
                if leaving:
                    return
                self._view.note("(Ctrl-C again, or Ctrl-D, leaves)")
            elif line.strip():
                await self._say(inbox, line)
            leaving = line == CLEARED
        await self._leave()

    async def _give_up(self) -> None:
        """Cancel the turn that waits for an approval, and wait for its end."""
        self._asked.clear()
        await self.interrupt()
        await self._wait()

    async def _leave(self) -> None:
        """Nothing will be typed any more."""
        self._gone = True
        for approval in tuple(self._asked):
            await self._deny(approval)
        self._asked.clear()
        await self._wait()

    async def _deny(self, approval: str) -> None:
        words = Text(f"/deny {approval} nobody can answer here")
        if self._inbox is not None:
            with suppress(FairleadError):  # then its time is all that ends it
                await self._inbox.accept(Inbound(self.address, self._author, (words,), secrets.token_hex(8)))

    async def _read(self) -> str | None:
        if self._lines is None:
            return None
        with trio.CancelScope() as self._reading:
            return await self._lines.next(PROMPT)
        self._reading = None
        return CLEARED

    async def _say(self, inbox: Inbox, text: str) -> None:
        """Hand a message in and wait until it is answered, refused or cancelled, or a question has to be answered."""
        waited = self.busy
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
            if not waited:
                self._answered.set()
            return
        if receipt.status == "refused":
            self.outcome = "refused"
            self._view.note(receipt.notice or "The message was refused.", level="error")
        elif not receipt.message and receipt.notice:
            self._view.note(receipt.notice)
            self._asked -= set(text.lower().split())
        if not (waited or receipt.message):  # it was no message, and no turn runs that could answer
            self._answered.set()
        await self._wait()

    async def _wait(self) -> None:
        if not self._answered.is_set() and not self._asked:
            self._view.wait()
        try:
            while not (self._answered.is_set() or self._asked):
                self._news = trio.Event()
                await self._news.wait()
        finally:
            self._view.rest()

    async def _ask(self, outbound: Outbound, approval: str, *, is_open: bool) -> Delivery:
        """Show a question, or that nobody has answered it. Where nobody can, say so for whoever began the turn."""
        self._view.ask(outbound)
        if not is_open:
            self._asked.discard(approval)
        elif self._lines is None or self._gone:
            await self._deny(approval)
        else:
            self._asked.add(approval)
            self._news.set()
        return Delivery("sent", external_id=outbound.id)

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
        self._end()

    def _end(self) -> None:
        self._asked.clear()
        self._answered.set()
        self._news.set()
        if self.once and self._reading is not None:
            self._reading.cancel()

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
        values = [part.value for part in outbound.parts if isinstance(part, Data)] if outbound.kind == "notice" else []
        if values:
            return await self._ask(outbound, values[0]["approval"], is_open="decisions" in values[0])
        try:
            await self.before_answer()
            self._view.finish(outbound)
            self.outcome = outbound.kind
        except BrokenPipeError:
            self.outcome = "closed"
            return Delivery("failed", reason="whoever read the output has gone away")
        finally:
            self._end()
        return Delivery("sent", external_id=outbound.id)
