"""The terminal channel against a fake inbox: what is typed, shown and cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from fairlead import Address, Data, Outbound, Receipt, Text
from fairlead.errors import JournalUnavailable
from fairlead.testing import FakeInbox
from fairlead_cli._lines import CLEARED
from fairlead_cli._terminal import TerminalChannel, system_user
from fairlead_cli._view import TextView

from .fakes import FakeScreen, TypedLines


class Desk:
    """A terminal channel that runs, the person before it and the core behind it."""

    def __init__(self, message: str | None = None) -> None:
        self.screen = FakeScreen()
        self.lines = TypedLines()
        self.inbox = FakeInbox()
        lines = (lambda: self.lines) if message is None else None
        self.channel = TerminalChannel(lines, TextView(self.screen), message=message, conversation="desk")
        self.ended = trio.Event()

    async def run(self) -> None:
        await self.channel.open()
        await self.channel.run(self.inbox)
        self.ended.set()

    async def answer(self, text: str, kind: str = "answer") -> None:
        outbound = Outbound("turn", self.channel.address, (Text(text),), kind=kind)  # type: ignore[arg-type]  # a test's own literal
        delivery = await self.channel.send(outbound)
        assert ("sent", "turn") == (delivery.status, delivery.external_id)


@asynccontextmanager
async def desk(message: str | None = None) -> AsyncIterator[Desk]:
    made = Desk(message)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_one_message_is_answered_and_that_is_all() -> None:
    """The message of the command line goes in once; with its answer the input has ended."""
    async with desk("What is 2 + 2?") as at:
        inbound = await at.inbox.next()
        assert ((Text("What is 2 + 2?"),), Address("terminal", conversation="desk")) == (inbound.parts, inbound.address)
        assert system_user() == inbound.author
        await at.answer("4")
        await at.ended.wait()
        assert ("answer", "4\n") == (at.channel.outcome, at.screen.shown)


async def test_lines_are_messages_one_after_the_other() -> None:
    """The next line is asked for when the last one is answered."""
    async with desk() as at:
        at.lines.type("first")
        at.lines.type("second")
        assert (Text("first"),) == (await at.inbox.next()).parts
        await trio.testing.wait_all_tasks_blocked()
        assert 1 == len(at.lines.prompts)
        await at.answer("one")
        second = await at.inbox.next()
        assert (Text("second"),) == second.parts
        assert len({message.external_id for message in at.inbox.accepted}) == 2


async def test_empty_lines_are_nothing() -> None:
    """Nobody is bothered by somebody who presses Enter."""
    async with desk() as at:
        at.lines.type("  ")
        at.lines.type("hello")
        assert (Text("hello"),) == (await at.inbox.next()).parts


async def test_end_of_input_ends_the_channel() -> None:
    """Ctrl-D at the prompt."""
    async with desk() as at:
        at.lines.type(None)
        await at.ended.wait()
        assert [] == at.inbox.accepted


async def test_interrupt_during_a_turn_cancels_it() -> None:
    """And the prompt comes back once the core has said so."""
    async with desk() as at:
        at.lines.type("a long story")
        await at.inbox.next()
        assert at.channel.busy
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.channel.interrupt)
            await trio.testing.wait_all_tasks_blocked()
            assert [at.channel.address] == at.inbox.cancelled[:1]
            await at.answer("The turn was cancelled.", "notice")
        at.lines.type("hello again")
        assert (Text("hello again"),) == (await at.inbox.next()).parts
        assert not at.channel.interrupted


async def test_interrupt_waits_for_a_turn_that_has_not_begun(autojump_clock: trio.testing.MockClock) -> None:
    """Between a message and its turn there is nothing to cancel: it is tried again."""
    async with desk("hello") as at:
        await at.inbox.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.channel.interrupt)
            await trio.sleep(1)
            assert len(at.inbox.cancelled) > 1
            await at.answer("The turn was cancelled.", "notice")
        assert at.channel.interrupted


async def test_interrupt_at_the_prompt_twice_leaves() -> None:
    """The first one throws the line away and says so."""
    async with desk() as at:
        await at.lines.wait_prompt()
        await trio.testing.wait_all_tasks_blocked()
        await at.channel.interrupt()
        await at.lines.wait_prompt()
        assert "(Ctrl-C again, or Ctrl-D, leaves)\n" == at.screen.noted
        at.lines.type(CLEARED)  # as a line editor reports it
        await at.ended.wait()


async def test_message_between_two_interrupts_counts_anew() -> None:
    """Only two in a row leave."""
    async with desk() as at:
        for line in (CLEARED, "hello", CLEARED, None):
            at.lines.type(line)
        await at.inbox.next()
        await at.answer("hi")
        await at.ended.wait()
        assert 4 == len(at.lines.prompts)


async def test_message_that_is_not_kept_is_said_and_can_be_typed_again() -> None:
    """The journal is away for a moment."""
    async with desk() as at:
        at.inbox.fail_next(JournalUnavailable("the disk is full", next_step="make room"))
        at.lines.type("hello")
        at.lines.type("hello again")
        assert (Text("hello again"),) == (await at.inbox.next()).parts
        assert "the disk is full\n" == at.screen.noted


async def test_one_message_that_is_not_kept_ends_the_channel() -> None:
    """The command fails with the journal's own words; nothing is tried twice."""
    made = Desk("hello")
    made.inbox.fail_next(JournalUnavailable("the disk is full"))
    await made.run()
    assert made.channel.failed is not None
    assert "" == made.channel.outcome


async def test_refused_message_is_said() -> None:
    """The queue of the session is full."""
    made = Desk("hello")
    made.inbox.fail_next(Receipt("refused", notice="50 messages are waiting already"))
    await made.run()
    assert ("refused", "50 messages are waiting already\n") == (made.channel.outcome, made.screen.noted)


async def test_turn_that_breaks_gives_the_prompt_back() -> None:
    """Nothing will be sent for it, and nobody waits for ever."""
    async with desk("hello") as at:
        await at.inbox.next()
        at.channel.unanswered("failed")
        await at.ended.wait()
        assert "failed" == at.channel.outcome


async def test_answer_of_another_conversation_is_marked() -> None:
    """A killed process left it; the person who waits here goes on waiting."""
    async with desk("hello") as at:
        await at.inbox.next()
        elsewhere = Address("terminal", conversation="elsewhere")
        await at.channel.send(Outbound("other", elsewhere, (Text("an old answer"),)))
        assert at.channel.busy
        assert ("an old answer\n", "An answer in the conversation elsewhere:\n") == (at.screen.shown, at.screen.noted)


async def test_closing_gives_the_terminal_back() -> None:
    """Whatever the line editor changed."""
    made = Desk()
    await made.channel.open()
    await made.channel.close()
    assert made.lines.closed


def asks(at: Desk, approval: str = "abcdefghijkmnp", **more: object) -> Outbound:
    """As the core asks for an approval, or tells that it is over."""
    data = {"approval": approval, **(more or {"decisions": ["allow", "deny"]})}
    parts = (Text(f"May it run?\n/approve {approval}"), Data(data))
    return Outbound(approval, at.channel.address, parts, kind="notice")


async def test_question_is_answered_at_the_prompt_while_the_turn_waits() -> None:
    """The line is a message like any other; its receipt says what became of it, and the turn's answer follows."""
    async with desk() as at:
        at.lines.type("pay Ann")
        await at.inbox.next()
        await at.channel.send(asks(at))
        assert "May it run?\n/approve abcdefghijkmnp\n" in at.screen.noted
        at.inbox.fail_next(Receipt("refused", notice="there is no such approval"))
        at.lines.type("/approve abc")
        at.inbox.fail_next(Receipt("accepted", notice="it is approved"))
        at.lines.type("/approve ABCDEFGHIJKMNP")
        while "it is approved" not in at.screen.noted:
            await trio.testing.wait_all_tasks_blocked()
        assert "there is no such approval" in at.screen.noted
        assert (True, 3) == (at.channel.busy, len(at.lines.prompts))
        await at.answer("It is paid.")
        await trio.testing.wait_all_tasks_blocked()
        assert (False, 4) == (at.channel.busy, len(at.lines.prompts))


async def test_question_where_nobody_can_answer_is_denied_at_once() -> None:
    """By whoever began the turn, who may always say no."""
    async with desk("pay Ann") as at:
        await at.inbox.next()
        await at.channel.send(asks(at))
        denial = await at.inbox.next()
        assert ((Text("/deny abcdefghijkmnp nobody can answer here"),), system_user()) == (denial.parts, denial.author)
        await at.answer("It was not allowed.")
        await at.ended.wait()


async def test_question_that_nobody_answered_in_time_is_no_answer() -> None:
    """The turn goes on; only its answer ends the waiting."""
    async with desk() as at:
        at.lines.type("pay Ann")
        await at.inbox.next()
        await at.channel.send(asks(at))
        await at.lines.wait_prompt()
        await at.channel.send(asks(at, decision="expired"))
        assert at.channel.busy
        await at.answer("It was not allowed.")
        assert not at.channel.busy


async def test_end_of_the_input_denies_what_is_asked() -> None:
    """Nothing waits for somebody who has left."""
    async with desk() as at:
        at.lines.type("pay Ann")
        await at.inbox.next()
        await at.channel.send(asks(at))
        at.lines.type(None)
        assert (Text("/deny abcdefghijkmnp nobody can answer here"),) == (await at.inbox.next()).parts
        await at.answer("It was not allowed.")
        await at.ended.wait()
