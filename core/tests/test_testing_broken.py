"""A conformance class is worth as much as the faults that it finds: each of these workers breaks one promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead import (
    Channel,
    Delivery,
    Inbound,
    Inbox,
    Outbound,
    Policy,
    Review,
    Text,
    ToolCall,
    Verdict,
)
from fairlead.testing import (
    CapturingChannel,
    ChannelConformance,
    FakePolicy,
    PolicyConformance,
)


async def broken(check: Callable[[Path], Any], tmp_path: Path) -> str:
    """What the check says; nothing where it found no fault."""
    said: list[str] = []

    def keep(group: BaseExceptionGroup[AssertionError]) -> None:
        for error in group.exceptions:
            keep(error) if isinstance(error, BaseExceptionGroup) else said.append(str(error))

    try:
        try:
            await check(tmp_path)
        except* AssertionError as group:
            keep(group)
    except TypeError as error:  # a worker so wrong that the check itself stumbles is found as well
        said.append(str(error))
    return "\n".join(said)


# -- channels


class Forgetful(CapturingChannel):
    """Hands in without an external id."""

    async def run(self, inbox: Inbox) -> None:
        await super().run(Renaming(inbox, lambda inbound: ""))


class Fickle(CapturingChannel):
    """Gives an event a new id each time it comes."""

    count = 0

    async def run(self, inbox: Inbox) -> None:
        await super().run(Renaming(inbox, self.number))

    def number(self, inbound: Inbound) -> str:
        self.count += 1
        return f"{inbound.external_id}-{self.count}"


class Renaming(Inbox):
    def __init__(self, inbox: Inbox, rename: Callable[[Inbound], str]) -> None:
        self.inbox, self.rename = inbox, rename

    async def accept(self, inbound: Inbound) -> Any:
        name = self.rename(inbound)
        return await self.inbox.accept(Inbound(inbound.address, inbound.author, inbound.parts, name))

    def ready(self, where: str) -> None:
        self.inbox.ready(where)

    async def cancel(self, address: Any) -> bool:
        return await self.inbox.cancel(address)


class Losing(CapturingChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        return Delivery("sent", "lost") if outbound.parts == (Text("number 3"),) else await super().send(outbound)


class Doubling(CapturingChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        await super().send(outbound)
        self.sent.append(outbound)
        return Delivery("sent", "twice")


class Anonymous(CapturingChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        await super().send(outbound)
        return Delivery("ambiguous")


class Eager(CapturingChannel):
    async def run(self, inbox: Inbox) -> None:
        inbox.ready("here")
        await super().run(inbox)


class Trimming(CapturingChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        text = "".join(part.text for part in outbound.parts if isinstance(part, Text)).replace("\u200b", "")
        return await super().send(Outbound(outbound.id, outbound.address, (Text(text),)))


CHANNELS: dict[str, tuple[str, str, Callable[[], CapturingChannel]]] = {
    "has no ids": ("test_message_is_handed_in_whole", "an id of its own", Forgetful),
    "has new ids each time": ("test_event_that_comes_twice_is_one_message", "is one message", Fickle),
    "loses a message": ("test_sent_text_arrives_once", "the far side reads", Losing),
    "sends twice": ("test_sent_text_arrives_once", "the far side reads", Doubling),
    "does not know what it sent": ("test_sent_text_arrives_once", "is sent, with its id", Anonymous),
    "is ready twice": ("test_run_is_ready_once_and_stops_when_cancelled", "ready() is called once", Eager),
    "changes the text": ("test_hostile_text_arrives_unchanged", "the far side reads", Trimming),
}


@pytest.mark.parametrize("fault", sorted(CHANNELS))
async def test_broken_channel_is_found(fault: str, tmp_path: Path) -> None:
    """The far side sees it."""
    check, words, make = CHANNELS[fault]

    class Kit(ChannelConformance):
        async def make_worker(self, tmp_path: Path) -> Channel:
            self.channel = make()
            return self.channel

        async def inbound(self, text: str, external_id: str) -> None:
            await self.channel.say(text, external_id=external_id)

        async def outbox(self) -> Sequence[str]:
            return [part.text for outbound in self.channel.sent for part in outbound.parts if isinstance(part, Text)]

    assert words in await broken(getattr(Kit(), check), tmp_path)


# -- policies


def counting() -> Policy:
    seen: list[Review] = []

    def decide(review: Review) -> Verdict:
        seen.append(review)
        return Verdict("allow" if len(seen) % 7 else "deny", "every seventh")

    return FakePolicy(decide)


def changing_policy() -> Policy:
    def decide(review: Review) -> None:
        if isinstance(review.subject, ToolCall) and isinstance(review.subject.arguments, dict):
            review.subject.arguments["path"] = "/etc/passwd"

    return FakePolicy(decide)


POLICIES: dict[str, tuple[str, str, Callable[[], Policy]]] = {
    "wants a boundary that is none": (
        "test_boundaries_are_declared",
        "among the five",
        lambda: FakePolicy(lambda _: None, boundaries=["everywhere"]),  # type: ignore[list-item]  # that is the fault
    ),
    "names no rule": (
        "test_verdicts_are_well_formed",
        "names the rule",
        lambda: FakePolicy(lambda _: Verdict("allow", "")),
    ),
    "says two things of a layer": (
        "test_verdicts_are_well_formed",
        "one verdict a layer",
        lambda: FakePolicy(lambda _: [Verdict("allow", "a"), Verdict("deny", "b")]),
    ),
    "revises nothing": (
        "test_verdicts_are_well_formed",
        "of its kind",
        lambda: FakePolicy(lambda _: Verdict("revise", "r")),
    ),
    "revises into another call": (
        "test_verdicts_are_well_formed",
        "keeps the id",
        lambda: FakePolicy(
            lambda _: Verdict("revise", "r", revised=ToolCall("x", "shell", {})), boundaries=["tool_call"]
        ),
    ),
    "counts": ("test_same_review_gives_the_same_verdicts", "the same verdicts", counting),
    "changes what it sees": ("test_same_review_gives_the_same_verdicts", "leaves the subject alone", changing_policy),
}


@pytest.mark.parametrize("fault", sorted(POLICIES))
async def test_broken_policy_is_found(fault: str, tmp_path: Path) -> None:
    """By the verdicts it gives."""
    check, words, make = POLICIES[fault]

    class Kit(PolicyConformance):
        async def make_worker(self, tmp_path: Path) -> Policy:
            return make()

    assert words in await broken(getattr(Kit(), check), tmp_path)


async def test_policy_that_never_answers_is_found(tmp_path: Path, autojump_clock: object) -> None:
    """No answer in time is a denial for everybody."""

    async def waits(_: Review) -> None:
        await trio.sleep_forever()

    class Kit(PolicyConformance):
        async def make_worker(self, tmp_path: Path) -> Policy:
            return FakePolicy(waits)

    assert "a review ends, in 5 s" in await broken(Kit().test_review_ends_in_time, tmp_path)
