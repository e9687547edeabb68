"""HTTP out: an answer is signed, tried again within bounds, and its fate is told truly."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
import trio
import trio.testing

from fairlead import Address, Delivery, Image, Outbound, Text
from fairlead.wire import check
from fairlead_webhook._body import dump, render
from fairlead_webhook._post import Poster, _pin, _seconds

from .far import NOW, Receiver, make_channel, opened, receiving

ADDRESS = Address("hook", "", "room", "t1")
ANSWER = Outbound("turn-1", ADDRESS, (Text("42"),), in_reply_to="m1", session="s1")


@pytest.fixture
def clock() -> trio.testing.MockClock:
    """Jumps over pauses; the threshold leaves the sockets their real time."""
    return trio.testing.MockClock(autojump_threshold=0.05)


async def deliver(receiver: Receiver, outbound: Outbound = ANSWER, **options: Any) -> tuple[Delivery, float]:
    """What send gives, and how many seconds it took by trio's clock."""
    channel = make_channel(**{"reply_url": receiver.url, **options})
    channel.clock = lambda: NOW
    async with opened(channel):
        began = trio.current_time()
        return await channel.send(outbound), trio.current_time() - began


async def test_answer_arrives_signed_and_of_its_schema() -> None:
    """The receiver checks the signature as the channel does; the id is the key of idempotency."""
    async with receiving() as receiver:
        delivery, _ = await deliver(receiver)
    assert Delivery("sent", external_id="turn-1") == delivery
    assert ["turn-1"] == receiver.tries
    shown = receiver.shown["turn-1"]
    check("webhook-answer", shown)
    expected = {
        "id": "turn-1",
        "conversation": "room",
        "thread": "t1",
        "in_reply_to": "m1",
        "kind": "answer",
        "text": "42",
        "parts": [{"type": "text", "text": "42"}],
        "session": "s1",
    }
    assert expected == shown


def test_media_goes_out_as_base64() -> None:
    """Parts have the form in which they come in; where they are from is not told."""
    value = json.loads(dump(render(Outbound("1", ADDRESS, (Text("a"), Image("image/png", b"\0"), Text("b"))))))
    check("webhook-answer", value)
    assert "a\nb" == value["text"]
    assert {"type": "image", "media_type": "image/png", "data": "AA=="} == value["parts"][1]


@pytest.mark.parametrize("status", [408, 429, 503, 500, 502])
async def test_receiver_that_is_busy_is_tried_again(status: int, clock: trio.testing.MockClock) -> None:
    """The same id and body, until it takes it."""
    async with receiving((status, {}), (status, {"Retry-After": "0"})) as receiver:
        delivery, _ = await deliver(receiver)
    assert "sent" == delivery.status
    assert ["turn-1"] * 3 == receiver.tries
    assert ["42"] == receiver.texts


async def test_lost_connection_is_tried_again_under_the_same_key(clock: trio.testing.MockClock) -> None:
    """The receiver had it and hung up: it is told a second time, and shows it once."""
    async with receiving(None) as receiver:
        delivery, _ = await deliver(receiver)
    assert "sent" == delivery.status
    assert ["turn-1", "turn-1"] == receiver.tries
    assert ["42"] == receiver.texts


async def test_lost_connection_is_ambiguous_at_the_end() -> None:
    """Nobody knows whether it arrived, and no time is left to ask again."""
    async with receiving(None) as receiver:
        delivery, _ = await deliver(receiver, retry_seconds=0)
    assert "ambiguous" == delivery.status
    assert "before the receiver answered" in delivery.reason


async def test_later_refusal_does_not_undo_the_doubt(clock: trio.testing.MockClock) -> None:
    """The first try may have arrived, whatever the second one is told."""
    async with receiving(None, (409, {})) as receiver:
        delivery, _ = await deliver(receiver)
    assert "ambiguous" == delivery.status


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410, 422])
async def test_refusal_is_final(status: int) -> None:
    """One try; redirects are not followed, since the signature was for this receiver."""
    async with receiving((status, {"Location": "http://127.0.0.1:1/"})) as receiver:
        delivery, _ = await deliver(receiver)
    assert ("failed", None) == (delivery.status, delivery.retry_after)
    assert f"answered {status}" in delivery.reason
    assert 1 == len(receiver.tries)


async def test_receiver_says_when_to_come_again() -> None:
    """Beyond the time of one send the core is told, with the receiver's own figure."""
    async with receiving((429, {"Retry-After": "3600"})) as receiver:
        delivery, took = await deliver(receiver)
    assert ("failed", 3600.0) == (delivery.status, delivery.retry_after)
    assert took < 5


async def test_receiver_that_is_away_is_tried_for_a_bounded_time(clock: trio.testing.MockClock) -> None:
    """No connection: tried with growing pauses up to `retry_seconds`, then the core may come again later."""
    delivery, took = await deliver(Receiver("http://127.0.0.1:1/"), retry_seconds=30)
    assert ("failed", 60.0) == (delivery.status, delivery.retry_after)
    assert "no connection" in delivery.reason
    assert 20 <= took <= 30


async def test_pauses_double_and_are_spread_by_chance(clock: trio.testing.MockClock) -> None:
    """So that many senders do not come at the same moment."""
    took = []
    for chance in (lambda: 0.0, lambda: 1.0):
        channel = make_channel(reply_url="http://127.0.0.1:1/", retry_seconds=3.6)
        poster = Poster(channel.options, lambda: NOW, chance)
        began = trio.current_time()
        await poster.deliver(ANSWER)
        took.append(trio.current_time() - began)
        await poster.close()
    assert [pytest.approx(0.5 + 1 + 2), pytest.approx((0.5 + 1 + 2) / 2)] == took


async def test_receiver_that_never_answers_is_ambiguous(clock: trio.testing.MockClock) -> None:
    """It took the request; 15 s later nobody knows more."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        delivery, took = await deliver(Receiver(f"http://127.0.0.1:{port}/"), retry_seconds=0)
    assert "ambiguous" == delivery.status
    assert took <= 16


async def test_without_a_receiver_it_fails_and_says_why() -> None:
    """Nobody waits, and no URL is known."""
    channel = make_channel()
    async with opened(channel):
        delivery = await channel.send(ANSWER)
    assert ("failed", None) == (delivery.status, delivery.retry_after)
    assert "no reply_url is configured" in delivery.reason


async def test_host_that_is_allowed_no_more_gets_nothing() -> None:
    """The list of today counts, not that of the day when the message came."""
    async with receiving() as receiver:
        foreign = Outbound("turn-1", Address("hook", receiver.url, "room"), (Text("42"),))
        delivery, _ = await deliver(receiver, foreign)
    assert "failed" == delivery.status
    assert [] == receiver.tries


async def test_message_is_answered_at_its_own_url() -> None:
    """Where the host is allowed, and private addresses are."""
    async with receiving() as receiver, receiving() as other:
        host = receiver.url.split("/")[2]
        foreign = Outbound("turn-1", Address("hook", receiver.url, "room"), (Text("42"),))
        delivery, _ = await deliver(other, foreign, reply_hosts=[host], reply_private=True)
    assert "sent" == delivery.status
    assert [["42"], []] == [receiver.texts, other.texts]


class Names(trio.abc.HostnameResolver):
    """A resolver that gives what the test says."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[object] = []

    async def getaddrinfo(self, host: Any, port: Any, *_: object) -> Any:
        await trio.lowlevel.checkpoint()
        self.asked.append(host)
        return [(2, 1, 6, "", (address, port)) for address in self.addresses]

    async def getnameinfo(self, *_: object) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("size", [0, 1_000_000])
async def test_body_of_the_response_does_not_count(size: int) -> None:
    """The status says all; a long body is not read, and costs no memory."""
    async with receiving((200, {"Content-Length": str(size)})) as receiver:
        receiver.body = b"x" * size
        delivery, _ = await deliver(receiver)
    assert "sent" == delivery.status


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["169.254.169.254"]])
async def test_allowed_name_that_leads_inside_gets_nothing(addresses: list[str]) -> None:
    """Who controls an allowed name must not reach the operator's own network with it."""
    names = Names(*addresses)
    trio.socket.set_custom_hostname_resolver(names)
    async with receiving() as receiver:
        foreign = Outbound("turn-1", Address("hook", "https://hooks.example.org/in", "room"), (Text("42"),))
        delivery, _ = await deliver(receiver, foreign, reply_hosts=["hooks.example.org"])
    assert "failed" == delivery.status
    assert "not public" in delivery.reason
    assert b"hooks.example.org" in names.asked


async def test_name_is_looked_up_once_and_pinned() -> None:
    """The address that was looked at is the one that is used; TLS and the header `Host` keep the name."""
    trio.socket.set_custom_hostname_resolver(Names("8.8.8.8", "1.1.1.1"))
    pinned = [await _pin(httpx2.URL("https://hooks.example.org:8443/in?a=1"), attempt) for attempt in range(3)]
    name = ({"sni_hostname": "hooks.example.org"}, {"Host": "hooks.example.org:8443", "Connection": "close"})
    assert [
        ("https://8.8.8.8:8443/in?a=1", *name),
        ("https://1.1.1.1:8443/in?a=1", *name),
        ("https://8.8.8.8:8443/in?a=1", *name),
    ] == pinned


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0),
        ("7", 7),
        ("-1", 0),
        ("soon", 0),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60),
        ("Fri, 15 Jan 2021 08:00:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    """RFC 9110, 10.2.3; nonsense counts as nothing."""
    assert seconds == _seconds(value, NOW)
