"""Senders who wait for the answer in the response."""

from __future__ import annotations

from typing import Any

import httpx2
import trio
import trio.testing

from fairlead import Delivery, Draft, Inbound, Outbound, Text
from fairlead.testing import FakeInbox
from fairlead_webhook._channel import WebhookChannel

from .far import answer_to, make_channel, message, receiving, running


async def test_answer_comes_in_the_response() -> None:
    """200 with the words and the whole answer; the channel knows that it was written."""
    channel = make_channel()
    found: list[httpx2.Response] = []
    async with running(channel) as (sender, inbox), trio.open_nursery() as nursery:

        async def ask() -> None:
            found.append(await sender.post(message(wait=30)))

        nursery.start_soon(ask)
        delivery = await channel.send(answer_to(await inbox.next()))
    value = found[0].json()
    assert (200, "answered", "42", "turn-1") == (
        found[0].status_code,
        value["status"],
        value["text"],
        value["answer"]["id"],
    )
    assert Delivery("sent", external_id="turn-1") == delivery


async def test_answer_that_comes_too_late_goes_elsewhere() -> None:
    """202 when the time is over; then the answer goes to the configured URL."""
    async with receiving() as receiver:
        channel = make_channel(reply_url=receiver.url)
        async with running(channel) as (sender, inbox):
            response = await sender.post(message(wait=0.02))
            delivery = await channel.send(answer_to(await inbox.next()))
    assert (202, "accepted") == (response.status_code, response.json()["status"])
    assert "sent" == delivery.status
    assert ["42"] == receiver.texts


class EagerInbox(FakeInbox):
    """Answers before it gives the receipt, as a very fast turn does."""

    channel: WebhookChannel
    delivery: Delivery | None = None

    async def answer(self, inbound: Inbound) -> None:
        self.delivery = await self.channel.send(answer_to(inbound))

    async def accept(self, inbound: Inbound) -> Any:
        receipt = await super().accept(inbound)
        self.nursery.start_soon(self.answer, inbound)
        await trio.testing.wait_all_tasks_blocked()
        return receipt

    nursery: trio.Nursery


async def test_answer_that_is_faster_than_the_receipt_is_not_missed() -> None:
    """The place to wait is taken before the message is handed in."""
    inbox = EagerInbox()
    inbox.channel = make_channel()
    async with trio.open_nursery() as inbox.nursery, running(inbox.channel, inbox) as (sender, _):
        response = await sender.post(message(wait=30))
    assert (200, "42") == (response.status_code, response.json()["text"])
    assert inbox.delivery is not None
    assert "sent" == inbox.delivery.status


async def test_answer_of_another_message_is_not_taken_for_this_one() -> None:
    """A second request of the same conversation waits on."""
    channel = make_channel()
    texts = {}
    async with running(channel) as (sender, inbox), trio.open_nursery() as nursery:

        async def ask(name: str) -> None:
            texts[name] = (await sender.post(message(id=name, wait=30))).json()["text"]

        nursery.start_soon(ask, "m1")
        nursery.start_soon(ask, "m2")
        for inbound in [await inbox.next(), await inbox.next()][::-1]:
            await channel.send(answer_to(inbound, f"to {inbound.external_id}"))
    assert {"m1": "to m1", "m2": "to m2"} == texts


async def test_answer_streams_while_it_grows() -> None:
    """Server-sent events: accepted, what is new of each draft, a whole draft where it began anew, the answer."""
    channel = make_channel()
    async with running(channel) as (sender, inbox), sender.listen(message(wait=30)) as event:
        inbound = await inbox.next()
        seen = [await event()]
        for text in ("Fo", "Forty", "42"):
            await channel.preview(Draft("turn-1", inbound.address, text))
            seen.append(await event())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.send, answer_to(inbound))
            name, value = await event()
    assert ("accepted", "kit") == (seen[0][0], seen[0][1]["session"])
    assert [("draft", {"delta": "Fo"}), ("draft", {"delta": "rty"}), ("draft", {"text": "42"})] == seen[1:]
    assert ("answer", "42", "turn-1") == (name, value["text"], value["id"])


async def test_stream_ends_when_the_time_is_over() -> None:
    """The last event says that the message was accepted; its answer will go elsewhere."""
    async with running(make_channel()) as (sender, _), sender.listen(message(wait=0.02)) as event:
        assert ["accepted", "timeout"] == [(await event())[0], (await event())[0]]


async def test_draft_goes_to_the_oldest_request_of_its_place() -> None:
    """A session has one turn at a time, so that is whose answer grows."""
    channel = make_channel()
    async with running(channel) as (sender, inbox), sender.listen(message(wait=30)) as first:
        await first()
        inbound = await inbox.next()
        async with sender.listen(message(id="m2", wait=0.05)) as second:
            await second()
            await channel.preview(Draft("turn-1", inbound.address, "Fo"))
            assert ("draft", {"delta": "Fo"}) == await first()
            assert "timeout" == (await second())[0]


async def test_client_that_goes_away_harms_nothing() -> None:
    """The answer goes to the configured URL instead, and the place of the request is free again."""
    async with receiving() as receiver:
        channel = make_channel(reply_url=receiver.url, max_requests=1)
        async with running(channel) as (sender, inbox):
            stream = await sender.connect()
            await stream.send_all(sender.request(message(wait=30)))
            inbound = await inbox.next()
            await stream.aclose()
            delivery = await channel.send(answer_to(inbound))
            async with sender.listen(message(id="m2", wait=30)) as event:
                await event()
                inbound = await inbox.next()
            with trio.fail_after(5):
                while (response := await sender.post(message(id="m3"))).status_code == 503:
                    await trio.lowlevel.checkpoint()
            await channel.preview(Draft("turn-1", inbound.address, "nobody reads this"))
            again = await channel.send(answer_to(inbound))
    assert ["sent", "sent", 202] == [delivery.status, again.status, response.status_code]
    assert ["turn-1", "turn-1"] == receiver.tries


async def test_notice_comes_in_the_response_too() -> None:
    """A turn that was refused or failed is answered with words; the sender sees the kind."""
    channel = make_channel()
    async with running(channel) as (sender, inbox), sender.listen(message(wait=30)) as event:
        await event()
        inbound = await inbox.next()
        async with trio.open_nursery() as nursery:
            notice = Outbound("turn-1", inbound.address, (Text("not now"),), inbound.external_id, "notice", "kit")
            nursery.start_soon(channel.send, notice)
            assert "notice" == (await event())[1]["kind"]
