"""A homeserver that fails in ways that a real one does not fail on request. Pauses pass at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from fairlead import Draft, Image, Inbound, Receipt, Text
from fairlead.errors import FairleadError, SchemaError
from fairlead.testing import FakeInbox
from fairlead_matrix._sync import Pauses

from .fake import ANN, BOT, OUTBOUND, ROOM, Fake, beside, faking, fault, invited, joined, message, told
from .far import make_channel, next_of, running
from .relay import Asked, Told, limited

Clock = trio.testing.MockClock


@pytest.fixture
def clock() -> Clock:
    """Jumps over pauses; the threshold leaves the sockets their real time."""
    return Clock(autojump_threshold=0.1)


async def eventually(look: Callable[[], bool]) -> None:
    """Let seconds pass until it is so."""
    for _ in range(3600):
        if look():
            return
        await trio.sleep(5)
    raise AssertionError("an hour has passed")


BAD_ANSWERS = [
    Told(raw=b""),
    Told(raw=b"\xff\xfe nonsense\r\n\r\n"),
    Told(body=b'{"next_batch": "s9", "rooms": {"join": {}}}', half=True),
    Told(body=b"<html>hello</html>", kind="text/html"),
    Told(body=b"[" * 100_000),
    Told(body=b"[]"),
    Told(body=b'{"next_batch": 7}'),
    Told(body=b"\x1f\x8b\x08", headers=[("Content-Encoding", "gzip")]),
    Told(502, b"<html>Bad Gateway</html>", kind="text/html"),
    Told(500, b'{"errcode": "M_UNKNOWN"}'),
    Told(body=b" " * 33_000_000),
    limited(2),
    fault(429, "M_LIMIT_EXCEEDED", retry_after_ms="soon"),
]


@pytest.mark.parametrize("bad", BAD_ANSWERS, ids=lambda told: f"{told.status} {(told.raw or told.body)[:12]!r}")
async def test_bad_answer_to_a_poll_is_asked_again(clock: Clock, tmp_path: Path, bad: Told) -> None:
    """From the same position, so that nothing is lost."""
    fake = Fake([bad, bad, joined(message("hello", "$1"))])
    async with beside(fake, tmp_path) as (_, inbox):
        got = await next_of(inbox)
    positions = [asked.target.partition("since=")[2].partition("&")[0] for asked in fake.asked if asked.polls]
    assert (Text("hello"),) == got.parts
    assert ["", "s1", "s1", "s1"] == positions[:4]


@pytest.mark.parametrize("bad", [BAD_ANSWERS[0], BAD_ANSWERS[3], BAD_ANSWERS[8]])
async def test_bad_beginning_is_begun_again(clock: Clock, tmp_path: Path, bad: Told) -> None:
    """The channel waits for a homeserver that starts after it."""
    left = [bad, bad, bad]

    def route(asked: Asked) -> Told | None:
        return left.pop() if left else None

    async with beside(Fake([joined(message("hello", "$1"))], route), tmp_path) as (_, inbox):
        assert (Text("hello"),) == (await next_of(inbox)).parts


async def test_poll_that_is_never_answered_is_given_up(clock: Clock, tmp_path: Path) -> None:
    """A connection that died without a word holds the channel for a minute, not for ever."""
    stuck = [True]

    class Stuck(Fake):
        async def rule(self, asked: Asked, ask: Any) -> Told | None:
            if asked.polls and "since=" in asked.target and stuck:
                stuck.clear()
                await trio.sleep_forever()
            return await super().rule(asked, ask)

    began = trio.current_time()
    async with beside(Stuck([joined(message("hello", "$1"))]), tmp_path) as (_, inbox):
        got = await inbox.next()
    assert (Text("hello"),) == got.parts
    assert 60 <= trio.current_time() - began < 70


async def test_too_large_answer_is_asked_for_in_smaller_ones(clock: Clock, tmp_path: Path) -> None:
    """Fewer events of each room at a time."""
    fake = Fake([Told(body=b" " * 33_000_000), joined(message("hello", "$1"))])
    async with beside(fake, tmp_path) as (_, inbox):
        await next_of(inbox)
    polls = [asked.target for asked in fake.asked if asked.polls]
    assert ["%22limit%22%3A+50" in polls[1], "%22limit%22%3A+25" in polls[2]] == [True, True]


async def test_server_that_does_not_wait_is_not_asked_without_end(clock: Clock, tmp_path: Path) -> None:
    """The same position again and again, at once: a second between."""
    fake = Fake([told({"next_batch": "s1"}) for _ in range(1000)])
    async with beside(fake, tmp_path):
        await trio.sleep(10)
    assert sum(asked.polls for asked in fake.asked) < 20


async def test_position_that_the_server_forgot_is_given_up(clock: Clock, tmp_path: Path) -> None:
    """It begins where the stream is now, and says so in the log."""
    fake = Fake([fault(400, "M_UNKNOWN"), joined(message("hello", "$1"))])
    async with beside(fake, tmp_path) as (_, inbox):
        assert (Text("hello"),) == (await next_of(inbox)).parts
    assert 2 == sum(asked.polls and "since=" not in asked.target for asked in fake.asked)


@pytest.mark.parametrize("bad", [fault(403, "M_FORBIDDEN"), fault(404, "M_UNRECOGNIZED"), Told(301)])
async def test_server_that_will_not_have_us_is_an_error_of_run(clock: Clock, tmp_path: Path, bad: Told) -> None:
    """The core reports it, and runs the channel again after a pause."""
    async with faking(Fake(route=lambda asked: bad if asked.polls else None)) as relay:
        channel = make_channel(relay.url, tmp_path, access_token="t")
        await channel.open()
        with pytest.raises(FairleadError, match=f"the server answered {bad.status}"):
            await channel.run(FakeInbox())
        await channel.close()


async def test_soft_logout_is_answered_by_a_login_of_the_same_device(clock: Clock, tmp_path: Path) -> None:
    """The token has run out, the device and its transaction ids live on; the poll is asked again."""
    left = [fault(401, "M_UNKNOWN_TOKEN", soft_logout=True)]
    logins: list[dict[str, Any]] = []

    def route(asked: Asked) -> Told | None:
        if asked.target.endswith("/login"):
            logins.append(json.loads(asked.body))
            return told({"user_id": BOT, "device_id": "D", "access_token": f"token-{len(logins)}"})
        return left.pop() if asked.polls and left and "since=" in asked.target else None

    fake = Fake([joined(message("hello", "$1"))], route)
    async with faking(fake) as relay:
        channel = make_channel(relay.url, tmp_path, user="bot", password="of the test")
        async with running(channel) as inbox:
            await next_of(inbox)
    tokens = [dict(asked.headers).get(b"authorization") for asked in fake.asked if asked.polls]
    assert [b"Bearer token-1", b"Bearer token-1", b"Bearer token-2"] == tokens[:3]
    assert [None, "D"] == [login.get("device_id") for login in logins]


# -- rooms


@pytest.mark.parametrize("bad", [Told(500), fault(403, "M_FORBIDDEN")])
async def test_room_that_cannot_be_read_does_not_hold_the_others(clock: Clock, tmp_path: Path, bad: Told) -> None:
    """It is tried for some minutes, then left out; the others are heard at once, and once."""

    def route(asked: Asked) -> Told | None:
        return bad if "%21bad%3Ax/joined_members" in asked.target else None

    both = {"join": {**joined(message("lost", "$1"), room="!bad:x")["join"], **joined(message("hello", "$2"))["join"]}}
    fake = Fake([both] * 20, route)
    async with beside(fake, tmp_path) as (_, inbox):
        assert (Text("hello"),) == (await next_of(inbox)).parts
        await eventually(lambda: fake.position > 10)
    assert ["$2"] == [got.external_id for got in inbox.accepted]


async def test_room_that_fails_for_a_moment_loses_nothing(clock: Clock, tmp_path: Path) -> None:
    """The position waits for it."""
    left = [Told(500), Told(raw=b""), Told(body=b"{")]

    def route(asked: Asked) -> Told | None:
        return left.pop() if left and "/joined_members" in asked.target else None

    answer = joined(message("hello", "$1"))
    fake = Fake([answer] * 4, route)
    async with beside(fake, tmp_path) as (_, inbox):
        assert (Text("hello"),) == (await next_of(inbox)).parts
    assert not left


async def test_gap_that_cannot_be_filled_at_once_is_filled_later(clock: Clock, tmp_path: Path) -> None:
    """Pages that break off are asked for again, from the same position."""
    pages = [Told(500), told({"chunk": [message("two", "$2")]}), told({"chunk": [message("one", "$1")], "end": "t2"})]

    def route(asked: Asked) -> Told | None:
        return pages.pop() if "/messages?" in asked.target else None

    answer = joined(message("three", "$3"), limited=True, prev_batch="t9")
    pages.insert(0, told({"chunk": [message("one", "$1"), message("two", "$2")]}))
    pages[1], pages[2] = pages[2], pages[1]
    async with beside(Fake([answer, answer], route), tmp_path) as (_, inbox):
        got = [(await next_of(inbox)).external_id for _ in range(3)]
    assert ["$1", "$2", "$3"] == got


ODD_EVENTS: list[Any] = [
    None,
    7,
    "x",
    [],
    {},
    {"type": 5},
    {"type": "m.room.message"},
    {"type": "m.room.message", "sender": ANN, "event_id": "$1", "content": "text"},
    {"type": "m.room.message", "sender": ANN, "event_id": "$1", "content": {"msgtype": "m.text", "body": ["x"]}},
    {"type": "m.room.message", "sender": "ann", "event_id": "$1", "content": {"msgtype": "m.text", "body": "x"}},
    {"type": "m.room.message", "sender": ANN, "event_id": "$1\n2", "content": {"msgtype": "m.text", "body": "x"}},
    {
        "type": "m.room.message",
        "sender": ANN,
        "event_id": "$" + "1" * 300,
        "content": {"msgtype": "m.text", "body": "x"},
    },
    {"type": "m.room.message", "state_key": "", **message("x", "$1")},
    {"type": "m.room.member", "state_key": BOT, "content": {"membership": ["join"]}, "unsigned": 7},
    {"type": "m.room.member", "state_key": [BOT], "content": None},
    {**message("x", "$1"), "content": {"m.relates_to": {"rel_type": "m.replace", "event_id": 7}, "m.new_content": "y"}},
]


async def test_odd_events_are_let_go(clock: Clock, tmp_path: Path) -> None:
    """The one that makes sense is handed in."""
    fake = Fake([joined(*ODD_EVENTS[:-3], *ODD_EVENTS[-2:], message("hello", "$9"))])
    async with beside(fake, tmp_path) as (_, inbox):
        assert "$9" == (await next_of(inbox)).external_id
    assert 1 == len(inbox.accepted)


@pytest.mark.parametrize("rooms", [None, [], {"join": []}, {"join": {ROOM: None}}, {"invite": {ROOM: 7}}, {"leave": 1}])
async def test_odd_rooms_are_let_go(clock: Clock, tmp_path: Path, rooms: Any) -> None:
    """Whatever stands where rooms should."""
    odd = told({"next_batch": "s5", "rooms": rooms})
    async with beside(Fake([odd, joined(message("hello", "$1"))]), tmp_path) as (_, inbox):
        assert (Text("hello"),) == (await next_of(inbox)).parts


async def test_position_never_runs_ahead_of_the_journal(clock: Clock, tmp_path: Path) -> None:
    """A process that dies while the journal is slow: the next one asks from before the message."""

    class Slow(FakeInbox):
        async def accept(self, inbound: Inbound) -> Receipt:
            knocked.set()
            await trio.sleep_forever()
            raise AssertionError("not reached")

    knocked, path = trio.Event(), tmp_path / "matrix" / "sync.json"
    fake = Fake([joined(message("before", "$0"))])
    async with faking(fake) as relay:
        async with running(make_channel(relay.url, tmp_path, access_token="t")) as inbox:
            await next_of(inbox)
            await eventually(lambda: fake.times("since=s2") > 0)
        async with running(make_channel(relay.url, tmp_path, access_token="t"), Slow()):
            fake.tell(joined(message("hello", "$1")))
            await knocked.wait()
            kept = json.loads(path.read_text())["next_batch"]
        fake.tell(joined(message("hello", "$1")))
        async with running(make_channel(relay.url, tmp_path, access_token="t")) as inbox:
            assert "$1" == (await next_of(inbox)).external_id
    first = [asked.target.partition("since=")[2] for asked in fake.asked if "timeout=0" in asked.target]
    assert ("s2", ["", "s2", "s2"]) == (kept, first)


async def test_invitation_is_accepted_in_the_end(clock: Clock, tmp_path: Path) -> None:
    """Refused for now, broken, then away with the whole process: the next one joins."""
    left = [Told(500), limited(1)]

    def route(asked: Asked) -> Told | None:
        if "/join/" not in asked.target:
            return None
        return left.pop() if left else Told(500)

    first = Fake([invited()], route)
    async with beside(first, tmp_path):
        await eventually(lambda: first.times("/join/!new:x") >= 3)
    kept = json.loads((tmp_path / "matrix" / "sync.json").read_text())
    # Nothing of the invitation is told again: only what was kept knows of it.
    second = Fake()
    async with faking(second) as relay:
        (tmp_path / "matrix" / "sync.json").write_text(json.dumps({**kept, "homeserver": relay.url}))
        channel = make_channel(relay.url, tmp_path, access_token="t")
        await channel.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run, FakeInbox())
            await eventually(lambda: second.times("/join/!new:x") > 0)
            nursery.cancel_scope.cancel()
        await channel.close()
    assert {"!new:x": ANN} == kept["invites"]


async def test_invitation_outlives_an_end_of_run(clock: Clock, tmp_path: Path) -> None:
    """The core runs a channel again that failed: what was begun is gone on with."""
    left = [fault(403, "M_FORBIDDEN")]

    def route(asked: Asked) -> Told | None:
        if "/join/" in asked.target:
            return Told(500) if left else None
        return left.pop() if asked.polls and left and fake.times("/join/") > 1 else None

    fake = Fake([invited()], route)
    async with faking(fake) as relay:
        channel = make_channel(relay.url, tmp_path, access_token="t")
        await channel.open()
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                await eventually(lambda: fake.times("/join/") > 1)
                fake.tell({})

            nursery.start_soon(stop)
            with pytest.raises(FairleadError, match="M_FORBIDDEN"):
                await channel.run(FakeInbox())
            count = fake.times("/join/")
            nursery.start_soon(channel.run, FakeInbox())
            await eventually(lambda: fake.times("/join/") > count)
            nursery.cancel_scope.cancel()
        await channel.close()


async def test_message_that_is_malformed_for_the_core_is_said_to_its_sender(clock: Clock, tmp_path: Path) -> None:
    """Nothing is dropped in silence."""
    fake = Fake()
    async with beside(fake, tmp_path) as (_, inbox):
        inbox.fail_next(SchemaError("found a message of 11000000 bytes"))
        fake.tell(joined(message("large", "$1"), message("hello", "$2")))
        await next_of(inbox)
    assert "This message was not taken: found a message of 11000000 bytes" == fake.sent["notice~$1"]["body"]


async def test_refusals_are_told_again_after_a_minute(clock: Clock, tmp_path: Path) -> None:
    """To each sender by themselves."""
    fake = Fake()
    async with beside(fake, tmp_path) as (_, inbox):
        inbox.fail_next(*[Receipt("refused", notice="no")] * 4)
        fake.tell(joined(message("a", "$1"), message("b", "$2"), message("c", "$3", "@bob:x")))
        await eventually(lambda: len(fake.sent) == 2)
        await trio.sleep(60)
        fake.tell(joined(message("d", "$4"), message("end", "$5")))
        await next_of(inbox)
    assert ["notice~$1", "notice~$3", "notice~$4"] == list(fake.sent)


# -- out

SEND_FAULTS: list[tuple[Told, str, float | None]] = [
    (Told(raw=b""), "ambiguous", None),
    (Told(body=b'{"event_id": "$1"}', half=True), "ambiguous", None),
    (Told(body=b"<html>"), "ambiguous", None),
    (told({"event_id": 7}), "ambiguous", None),
    (Told(502), "ambiguous", None),
    (Told(503), "ambiguous", None),
    (limited(3), "failed", 3),
    (fault(429, "M_LIMIT_EXCEEDED", retry_after_ms=1500), "failed", 1.5),
    (fault(429, "M_LIMIT_EXCEEDED", retry_after_ms=float("nan")), "failed", 5),
    (fault(429, "M_LIMIT_EXCEEDED", retry_after_ms=-1), "failed", 0.1),
    (Told(429), "failed", 5),
    (fault(403, "M_FORBIDDEN"), "failed", None),
    (fault(413, "M_TOO_LARGE"), "failed", None),
    (Told(308), "failed", None),
]


@pytest.mark.parametrize(("bad", "status", "pause"), SEND_FAULTS)
async def test_fate_of_a_send_is_told_truly(
    clock: Clock, tmp_path: Path, bad: Told, status: str, pause: float | None
) -> None:
    """Failed is what has surely not arrived; then the same one again is sent, under the same id."""
    left = [bad]

    def route(asked: Asked) -> Told | None:
        return left.pop() if left and asked.sends else None

    fake = Fake(route=route)
    async with beside(fake, tmp_path) as (channel, _):
        first, second = await channel.send(OUTBOUND), await channel.send(OUTBOUND)
    assert (status, pause, "sent") == (first.status, first.retry_after, second.status)
    assert first.reason
    assert 2 == fake.times("/send/m.room.message/turn-1")


async def test_send_that_is_never_answered_is_unknown(clock: Clock, tmp_path: Path) -> None:
    """After its time."""

    class Stuck(Fake):
        async def rule(self, asked: Asked, ask: Any) -> Told | None:
            if asked.sends:
                await trio.sleep_forever()
            return await super().rule(asked, ask)

    async with beside(Stuck(), tmp_path) as (channel, _):
        delivery = await channel.send(OUTBOUND)
    assert "ambiguous" == delivery.status


async def test_drafts_that_fail_raise_nothing_and_cost_the_answer_nothing(clock: Clock, tmp_path: Path) -> None:
    """The core would show no further draft; and what may have become of them is settled by the answer."""
    left = [Told(500), limited(1), Told(raw=b"")]

    def route(asked: Asked) -> Told | None:
        return left.pop() if left and asked.sends else None

    fake = Fake(route=route)
    async with beside(fake, tmp_path, edit_seconds=0) as (channel, _):
        for number in range(12):
            await channel.preview(Draft("turn-1", OUTBOUND.address, f"draft {number}"))
            await trio.sleep(1)
        delivery = await channel.send(OUTBOUND)
    assert "sent" == delivery.status
    assert "hello" == fake.sent["turn-1~final"]["m.new_content"]["body"]
    assert not left


@pytest.mark.parametrize("bad", [Told(500), limited(3)])
async def test_part_that_follows_an_arrived_one_is_not_failed(clock: Clock, tmp_path: Path, bad: Told) -> None:
    """The text is there and its picture is not: unknown as a whole; the next try adds what is missing."""
    left = [bad]

    def route(asked: Asked) -> Told | None:
        if "/upload" not in asked.target:
            return None
        return left.pop() if left else told({"content_uri": "mxc://x/1"})

    outbound = type(OUTBOUND)("turn-1", OUTBOUND.address, (Text("look:"), Image("image/png", b"x")))
    fake = Fake(route=route)
    async with beside(fake, tmp_path) as (channel, _):
        first, second = await channel.send(outbound), await channel.send(outbound)
    assert ("ambiguous", "$turn-1", "sent") == (first.status, first.external_id, second.status)
    assert ["turn-1", "turn-1~m1"] == list(fake.sent)


async def test_media_of_an_older_homeserver_is_fetched_from_the_older_place(clock: Clock, tmp_path: Path) -> None:
    """Before version 1.11 of the specification; and what breaks off is said in words."""

    def route(asked: Asked) -> Told | None:
        if "/client/v1/media/" in asked.target:
            return fault(404, "M_UNRECOGNIZED")
        if "/media/v3/download/x/old" in asked.target:
            return Told(body=b"png", kind="image/png")
        return Told(500) if "/media/v3/" in asked.target else None

    picture: dict[str, Any] = {"msgtype": "m.image", "info": {"size": "3"}}
    events = (
        message("a.png", "$1", url="mxc://x/old", **picture),
        message("b.png", "$2", url="mxc://x/bad", **picture),
    )
    async with beside(Fake([joined(*events)], route), tmp_path) as (_, inbox):
        good, bad = (await next_of(inbox)).parts, (await next_of(inbox)).parts
    assert (Image("image/png", b"png", alt="a.png"),) == good
    assert "could not be fetched" in bad[0].text


def test_pauses_double_within_bounds() -> None:
    """And begin anew after a success."""
    pauses = Pauses(chance=lambda: 0.0)
    assert [1, 2, 4, 8, 16, 32, 60, 60] == [pauses.next() for _ in range(8)]
    pauses.reset()
    assert 1 == pauses.next()
    assert 0.5 == Pauses(chance=lambda: 1.0).next()
