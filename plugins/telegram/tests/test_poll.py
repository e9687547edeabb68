"""Long polling: what is confirmed, and what the channel does while it cannot poll."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from fairlead.errors import FairleadError
from fairlead.testing import FakeInbox
from fairlead_telegram._poll import Backoff
from fairlead_telegram._state import State

from .far import make_channel, opened, running, until
from .server import TOKEN, FakeTelegram, Fault, serving

OTHER = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"


async def test_nothing_is_confirmed_before_it_is_kept(tmp_path: Path) -> None:
    """The next question, which confirms, is asked after the journal has the message."""
    inbox = SlowInbox()
    async with running(tmp_path, inbox=inbox) as (_, __, telegram):
        telegram.say("hello")
        await inbox.knocked.wait()
        assert 1 == len(telegram.updates)
        inbox.free.set()
        await until(telegram, lambda far: not far.updates)
    offsets = [call.get("offset") for call in telegram.methods("getUpdates")]
    assert [None, 770_000_002] == offsets[:2]


class SlowInbox(FakeInbox):
    def __init__(self) -> None:
        super().__init__()
        self.knocked, self.free = trio.Event(), trio.Event()

    async def accept(self, inbound: Any) -> Any:
        self.knocked.set()
        await self.free.wait()
        return await super().accept(inbound)


async def test_chats_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """A file that takes long holds up its own chat only; the confirmation waits for all."""
    async with running(tmp_path) as (_, inbox, telegram):
        telegram.flowing.clear()
        telegram.store(b"x", "f1")
        telegram.say(document={"file_id": "f1", "file_name": "x"})
        telegram.say("quick", author={"id": 4002, "first_name": "Bob"}, chat=telegram.chats[4002])
        telegram.faults.append(held := Fault("getFile", hold=_event()))
        telegram.flowing.set()
        got = await inbox.next()
        assert "telegram:4002" == got.author.id
        assert 2 == len(telegram.updates)
        assert held.hold is not None
        held.hold.set()
        await inbox.next()
        await until(telegram, lambda far: not far.updates)


def _event() -> Any:
    import threading  # noqa: PLC0415  # the far side runs in threads

    return threading.Event()


async def test_another_poller_is_named(tmp_path: Path) -> None:
    """A conflict that passes is waited out; one that stays is the operator's to mend."""
    with serving() as telegram:
        channel = make_channel(telegram, tmp_path)
        telegram.faults += [Fault("getUpdates", 409, {"ok": False, "description": OTHER})] * 3
        async with opened(channel):
            with trio.fail_after(20), pytest.raises(FairleadError, match="another program polls") as caught:
                await channel.run(FakeInbox())
    assert "stop the other program" in caught.value.next_step


async def test_conflict_that_passes_is_waited_out(tmp_path: Path) -> None:
    """As after a program that was killed: its question is open at Telegram until this one comes."""
    async with running(tmp_path) as (channel, inbox, telegram):
        telegram.faults.append(Fault("getUpdates", 409, {"ok": False, "description": OTHER}))
        telegram.say("one")
        await inbox.next()
        telegram.say("two")
        await inbox.next()
        assert all(finding.ok for finding in await channel.check())


async def test_webhook_of_our_own_is_taken_away(tmp_path: Path) -> None:
    """The operator has changed from a webhook to polling; what waits is not lost."""
    hook: dict[str, Any] = {"webhook_url": "https://example.org/t", "port": 0}
    with serving() as telegram:
        async with running(tmp_path, telegram, **hook):
            assert "https://example.org/t" == telegram.webhook["url"]
        telegram.say("meanwhile")
        async with running(tmp_path, telegram) as (_, inbox, __):
            assert {} == telegram.webhook
            await inbox.next()
        assert [{}] == telegram.methods("deleteWebhook")


async def test_webhook_that_appears_meanwhile_is_an_error(tmp_path: Path) -> None:
    """Somebody else has taken the messages over: polling says so instead of hammering."""
    with serving() as telegram:
        channel, inbox = make_channel(telegram, tmp_path), FakeInbox()
        async with opened(channel), trio.open_nursery() as nursery:

            async def take_over() -> None:
                await inbox.wait_ready()
                telegram.do("setWebhook", {"url": "https://other.example/x"})

            nursery.start_soon(take_over)
            with trio.fail_after(10), pytest.raises(FairleadError, match=r"other\.example"):
                await channel.run(inbox)


async def test_server_that_restarts_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Three times in the middle of everything, with connections that break."""
    texts = [f"number {number}" for number in range(12)]
    with serving() as telegram:
        async with running(tmp_path, telegram) as (_, inbox, __):
            for start in range(0, 12, 4):
                for text in texts[start : start + 4]:
                    telegram.say(text)
                await trio.to_thread.run_sync(restart, telegram)
            while len(inbox.accepted) < len(texts):
                await inbox.next()
            await until(telegram, lambda far: not far.updates)
    assert texts == [got.parts[0].text for got in inbox.accepted if hasattr(got.parts[0], "text")]


def restart(telegram: FakeTelegram) -> None:
    telegram.stop()
    telegram.start()


async def test_trouble_is_what_doctor_shows(tmp_path: Path) -> None:
    """While the channel runs; it is forgotten once news come again."""
    async with running(tmp_path, poll_seconds=0) as (channel, _, telegram):
        telegram.faults += [Fault("getUpdates", 500, {"description": "Internal"})] * 2
        await until(telegram, lambda far: not far.faults)
        await trio.testing.wait_all_tasks_blocked()
        findings = await channel.check()
    assert ["token", "polling"] == [finding.subject for finding in findings]
    assert "Internal" in findings[1].detail


@pytest.mark.parametrize(("privacy", "content"), [(True, False), (False, True)])
async def test_groups_need_the_right_to_hear_all(tmp_path: Path, privacy: bool, content: bool) -> None:  # noqa: FBT001  # columns
    """Where the option asks for it."""
    async with running(tmp_path, groups="all") as (channel, _, telegram):
        telegram.me["can_read_all_group_messages"] = not privacy
        found = {finding.subject: finding for finding in await channel.check()}
    assert content == found["groups"].ok
    assert content or "/setprivacy" in found["groups"].next_step


async def test_pauses_grow_up_to_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    """Less up to half by chance; a pause that Telegram asks for is kept."""
    backoff, pauses = Backoff(lambda: 0.0), []
    for least in (0, 0, 0, 0, 0, 0, 0, 0, 90):
        began = trio.current_time()
        await backoff.pause(least)
        pauses.append(trio.current_time() - began)
    assert [1, 2, 4, 8, 16, 32, 60, 60, 90] == [round(pause) for pause in pauses]
    backoff.reset()
    began = trio.current_time()
    await Backoff(lambda: 1.0).pause()
    assert 0.5 == round(trio.current_time() - began, 3)


@pytest.mark.parametrize("found", [None, b"", b"[1]", b'{"drafts": 5}', b"\xff", b"[" * 100_000])
async def test_facts_that_cannot_be_read_are_none(tmp_path: Path, found: bytes | None) -> None:
    """They are of comfort only; the next ones are written over them."""
    path = tmp_path / "x" / "telegram.json"
    if found is not None:
        path.parent.mkdir()
        path.write_bytes(found)
    state = State(path)
    state.load()
    assert state.get("drafts", "a") is None
    await state.put("drafts", "a", [1, 2])
    again = State(path)
    again.load()
    assert [1, 2] == again.get("drafts", "a")
    for number in range(600):
        again.tables["drafts"][str(number)] = number
    await again.put("drafts", "last", 1)
    assert (500, None) == (len(again.tables["drafts"]), again.get("drafts", "a"))
    await again.drop("drafts", "last")
    await again.drop("drafts", "last")


async def test_disk_that_is_full_stops_nothing(tmp_path: Path) -> None:
    """What is kept holds until the next start."""
    (tmp_path / "file").write_bytes(b"")
    state = State(tmp_path / "file" / "telegram.json")
    state.load()
    await state.put("drafts", "a", [1, 2])
    assert [1, 2] == state.get("drafts", "a")


async def test_token_is_the_servers(tmp_path: Path) -> None:
    """The address has it, as the API wants; the far side would else answer 404."""
    async with running(tmp_path) as (_, __, telegram):
        assert TOKEN == telegram.token
        assert telegram.methods("getMe")
