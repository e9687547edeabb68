"""The health of providers in the journal: after a restart, beside another process, and where the journal fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import fairlead
from fairlead import Secret, errors, events
from fairlead._health_log import HealthLog, moment
from fairlead._journal import VolatileJournal, VolatileMemory
from fairlead.config import Config, ModelRef
from fairlead.errors import JournalUnavailable
from fairlead.events import Event, ProviderHealth, Record
from fairlead.testing import ScriptedProvider
from fairlead.wire import decode_event

START = 1_800_000_000.0
WEEK = 7 * 86_400
LIMITED = errors.RateLimited("slow down", provider="a", reset_after=100.0)


class World:
    """A journal with a clock, and the processes that use it."""

    def __init__(self, journal: VolatileJournal | None = None) -> None:
        self.now = START
        self.journal = journal or VolatileJournal(self.clock)
        self.published: list[Record] = []
        self.notices: list[str] = []

    def clock(self) -> float:
        return self.now

    async def process(self, *keys: str) -> HealthLog:
        """One more process, or the same one after a restart; it knows the provider ``a`` with these keys."""
        settings = {"a": {"api_keys": {key: Secret(key, "env KEY") for key in keys or ("k",)}}}
        log = HealthLog(
            self.journal, settings, self.clock, self.published.append, lambda _, text: self.notices.append(text)
        )
        await log.load()
        return log


async def fail(log: HealthLog, error: Exception = LIMITED, *, model: str = "m", credential: str = "") -> None:
    await log.keep(log.health.failed("a", credential, model, error, log.clock()))


def keys_of(log: HealthLog) -> list[tuple[str, str, int]]:
    return sorted((event.model, event.cause, event.failures) for event in log.health.entries)


async def test_health_survives_a_restart() -> None:
    """Failures, their counts and windows; and that they are over."""
    world = World()
    log = await world.process()
    await fail(log)
    await fail(log, errors.BillingFailed("no money"))
    assert log.health.bad == (await world.process()).health.bad
    await log.keep(log.health.answered("a", "", "m", world.now))
    assert {} == (await world.process()).health.bad
    assert [1, 2, 3, 4] == [record.version for record in world.published]


async def test_nothing_is_written_without_a_change() -> None:
    """Skips, probes that fail, answers of those who are well."""
    world = World()
    log = await world.process()
    await fail(log)
    await fail(log)
    await log.keep(log.health.answered("b", "", "m", world.now))
    assert 1 == len(world.published)


@pytest.mark.parametrize(("later", "expected"), [(0, 1), (WEEK, 1), (2 * WEEK, 0)])
async def test_this_week_and_the_last_are_read(later: float, expected: int) -> None:
    """A failure in the last second of a week is known in the next one."""
    world = World()
    world.now = START - START % WEEK + WEEK - 1
    await fail(await world.process(), errors.AuthenticationFailed("wrong"))
    world.now += later
    assert expected == len((await world.process()).health.entries)


async def test_new_week_begins_with_all_that_stands() -> None:
    """So the one before the last is never needed."""
    world = World()
    log = await world.process()
    await fail(log, errors.AuthenticationFailed("wrong"))
    for _ in range(3):
        world.now += WEEK
        await fail(log)
    assert [("", "auth", 1), ("m", "rate_limit", 3)] == keys_of(await world.process())


async def test_key_that_was_changed_is_tried_again() -> None:
    """Also another key of the same provider; and the journal holds nothing of any of them."""
    world = World()
    await fail(await world.process("sk-1"), errors.AuthenticationFailed("wrong"))
    assert [("", "auth", 1)] == keys_of(await world.process("sk-1"))
    assert [] == keys_of(await world.process("sk-2"))
    written = repr(world.published) + repr(await world.journal.read(f"!models/{int(START // WEEK)}"))
    assert "sk-1" not in written


async def test_provider_of_the_host_is_tried_again_after_a_restart() -> None:
    """Nobody can see whether its key was changed."""
    world = World()
    log = await world.process()
    await log.keep(log.health.failed("own", "", "m", errors.AuthenticationFailed("wrong"), START))
    assert 1 == len(log.health.entries)
    assert [] == keys_of(await world.process())


async def test_two_processes_merge() -> None:
    """The one that comes second takes in what the first wrote, and adds its own."""
    world = World()
    first, second = await world.process(), await world.process()
    await fail(first, model="m")
    await fail(second, model="n")
    expected = [("m", "rate_limit", 1), ("n", "rate_limit", 1)]
    assert expected == keys_of(second) == keys_of(await world.process())


async def test_worse_news_of_another_process_is_kept() -> None:
    """Both saw the same limit: it counts once, with the longer window."""
    world = World()
    first, second = await world.process(), await world.process()
    await fail(first, errors.RateLimited("slow", reset_after=500.0))
    await fail(second)
    assert [START + 500] == [event.until for event in second.health.entries]
    assert 1 == len(world.published)


async def test_other_processes_are_heard_of_where_something_is_bad() -> None:
    """A reset that somebody typed elsewhere counts within seconds; where all is well nothing is read."""
    world = World()
    running, command = await world.process(), await world.process()
    await fail(running)
    command = await world.process()
    assert ["rate_limit"] == [event.cause for event in await command.reset("a")]
    await running.look()
    assert 1 == len(running.health.entries), "it was read just now"
    world.now += 5
    await running.look()
    assert [] == running.health.entries


async def test_events_that_were_erased_do_no_harm() -> None:
    """What this process knows is written anew."""
    world = World()
    log = await world.process()
    await fail(log)
    await world.journal.erase(f"!models/{int(START // WEEK)}")
    await fail(log, model="n")
    assert 2 == len((await world.process()).health.entries)
    assert [] == world.notices


class Failing(VolatileJournal):
    """A disk that is full, or away."""

    async def append(self, *args: Any, **options: Any) -> int:
        raise JournalUnavailable("the disk is full")

    async def read(self, session: str, after: int = 0) -> Sequence[Record]:
        raise JournalUnavailable("the disk is away")


async def test_journal_that_fails_costs_nothing_but_the_memory() -> None:
    """A notice; the health is known all the same, and shown to the observers as an event that is not kept."""
    world = World(Failing())
    log = await world.process()
    await fail(log)
    assert 1 == len(log.health.entries)
    assert [0] == [record.version for record in world.published]
    assert ["the disk is away" in world.notices[0], "the disk is full" in world.notices[1]] == [True, True]
    world.now += 10
    await log.look()


async def test_events_of_a_week_are_bounded() -> None:
    """A provider that changes its mind all day does not make the next start slow."""
    world = World()
    log = await world.process()
    for _ in range(1_500):
        await fail(log)
        await log.keep(log.health.answered("a", "", "m", world.now))
    assert 2_000 == len(await world.journal.read(f"!models/{int(START // WEEK)}"))


# -- in an app


class Kept(VolatileMemory):
    """A journal that outlives its app."""


def again(*script: Any) -> ScriptedProvider:
    return ScriptedProvider(script, name="a")


CHAIN = Config(models={"default": (ModelRef("a", "script"), ModelRef("b", "script"))})


async def test_app_skips_after_a_restart_what_cooled_down_before() -> None:
    """Until its window is over."""
    now = [START]
    memory = Kept(lambda: now[0])

    async def ask(first: ScriptedProvider) -> str:
        second = ScriptedProvider(["b"], name="b")
        async with fairlead.open(CHAIN, providers=[first, second], memories=[memory], clock=lambda: now[0]) as app:
            return (await app.ask("hi")).text

    assert "b" == await ask(again(LIMITED))
    assert "b" == await ask(again("from a"))
    now[0] += 101
    assert "from a" == await ask(again("from a"))


async def test_nobody_sees_the_sessions_of_the_core() -> None:
    """They are in no list, of nobody's, in no export and in no claim, and nobody can talk in one."""
    memory = Kept()
    async with fairlead.open(
        CHAIN, providers=[again(LIMITED), ScriptedProvider(["b"], name="b")], memories=[memory]
    ) as app:
        await app.ask("hi", session="s")
        assert ["s"] == [info.id for info in await app.sessions.list()]
        assert ["s"] == [info.id for info in await app.sessions.list(limit=1)]
        assert [] == list(await app.sessions.list(limit=0))
        assert memory.journal is not None
        (own,) = [info for info in await memory.journal.sessions() if info.id != "s"]
        assert (False, "") == (own.pending, own.owner)
        for look in (app.sessions.export, app.sessions.records, app.sessions.fork):
            with pytest.raises(errors.SessionNotFound):
                await look(own.id)
        with pytest.raises(ValueError, match="does not begin with '!'"):
            await app.ask("hi", session=own.id)


def test_no_conversation_has_a_name_of_the_core() -> None:
    """Whatever agent, channel and conversation are called."""
    from fairlead._router import Router  # noqa: PLC0415  # the one test of it

    address = fairlead.Address("!", account="!", conversation="!models")
    assert not Router.session_for("!models", address).startswith("!")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.2, "in 1 second (08:00:00 UTC)"),
        (1, "in 1 second (08:00:01 UTC)"),
        (30, "in 30 seconds (08:00:30 UTC)"),
        (119, "in 119 seconds (08:01:59 UTC)"),
        (121, "in 3 minutes (08:02:01 UTC)"),
        (86_400, "in 24 hours (2027-01-16 08:00:00 UTC)"),
        (3 * 86_400, "in 3 days (2027-01-18 08:00:00 UTC)"),
        (float("inf"), "once its key is changed"),
    ],
)
def test_moments_are_told_in_words_and_in_utc(seconds: float, expected: str) -> None:
    """Never too short a time, and the day where it is another one."""
    assert expected == moment(START + seconds, START)


def test_old_event_is_read_by_a_new_core() -> None:
    """Its least form."""
    line = b'{"kind":"provider_health","provider":"a","cause":"general","failures":1}'
    event: Event = decode_event(line)
    assert ProviderHealth(provider="a", cause="general", failures=1) == event
    assert isinstance(event, events.ProviderHealth)
