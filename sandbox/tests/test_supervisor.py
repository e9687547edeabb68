"""A plugin that crashes is started again with delays, left alone when it crashes too often, and seen by others."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio
import trio.testing
from attrs import define, field

from fairlead.errors import PluginLoadError
from fairlead_sandbox.boundary import GUEST, Call, Peer
from fairlead_sandbox.errors import EngineUnavailable, PluginQuarantined, SandboxLost
from fairlead_sandbox.process import Pulse, Restarts, Running, Supervisor, read_record, read_records, revive

START = 1_800_000_000.0


class Wire(anyio.abc.ByteStream):
    """One end of a pair of streams in memory, as a `Running` has one."""

    def __init__(self, inner: trio.StapledStream[Any, Any]) -> None:
        self.inner = inner
        self.deaf: trio.Event | None = None
        """The end of the other side is not noticed before this."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        try:
            data = await self.inner.receive_some(max_bytes)
        except trio.ClosedResourceError:
            raise anyio.ClosedResourceError from None
        if not data:
            if self.deaf is not None:
                await self.deaf.wait()
            raise anyio.EndOfStream
        return bytes(data)

    async def send(self, item: bytes) -> None:
        try:
            await self.inner.send_all(item)
        except trio.BrokenResourceError:
            raise anyio.BrokenResourceError from None

    async def send_eof(self) -> None:
        await self.inner.send_eof()

    async def aclose(self) -> None:
        await self.inner.aclose()


@define(eq=False)
class FakeProcess:
    """A `Running` without a process: the other end of its stream is a peer that answers in this one."""

    stream: Wire
    far: Wire
    words: str = "exit status 1: boom"
    killed: bool = False
    ended: trio.Event = field(factory=trio.Event)
    evidence: dict[str, Any] = field(factory=lambda: {"level": "process"})

    async def run(self) -> None:
        peer = Peer(self.far, serve=self.serve, side=GUEST)
        await peer.run()
        self.ended.set()

    async def serve(self, op: str, args: dict[str, Any], call: Call) -> Any:
        if op == "hang":
            with trio.CancelScope(shield=True):
                await self.ended.wait()
        if op == "spin":
            await self.ended.wait()
        return args

    async def crash(self, words: str = "exit status 1: boom") -> None:
        self.words = words
        self.ended.set()
        await self.far.aclose()

    async def kill(self) -> None:
        self.killed = True
        self.ended.set()
        await self.far.aclose()

    async def wait(self) -> str:
        await self.ended.wait()
        return self.words

    def figures(self) -> dict[str, float]:
        return {"cpu_seconds": 1.5, "memory_bytes": 1000.0}


@define
class World:
    """A supervisor with all that it is given, and what came of it."""

    nursery: trio.Nursery
    tmp_path: Path
    processes: list[FakeProcess] = field(factory=list)
    notices: list[tuple[str, str]] = field(factory=list)
    failures: list[Exception] = field(factory=list)
    """What the next launches raise."""
    prepared: list[Peer] = field(factory=list)
    unprepared: list[Exception] = field(factory=list)
    """What the next preparations raise."""
    preparing: str = "echo"
    chance: float = 1.0

    @property
    def crashes(self) -> int:
        return sum(detail.startswith("crashed") for _, detail in self.notices)

    async def crash(self, words: str = "exit status 1: boom") -> None:
        """The process that runs now ends by itself; its supervisor has seen it."""
        before = self.crashes
        await self.processes[-1].crash(words)
        await until(lambda: self.crashes > before)

    @property
    def file(self) -> Path:
        return self.tmp_path / "state" / "telegram.json"

    async def launch(self) -> Running:
        if self.failures:
            raise self.failures.pop(0)
        near, far = trio.testing.memory_stream_pair()
        process = FakeProcess(Wire(near), Wire(far))
        self.processes.append(process)
        self.nursery.start_soon(process.run)
        return process

    async def prepare(self, peer: Peer) -> None:
        if self.unprepared:
            raise self.unprepared.pop(0)
        assert {"hello": 1} == await peer.call(self.preparing, {"hello": 1})
        self.prepared.append(peer)

    def supervisor(self, **more: Any) -> Supervisor:
        return Supervisor(
            "telegram",
            self.launch,
            self.prepare,
            notice=lambda subject, detail, level: self.notices.append((level, detail)),
            state_file=self.file,
            now=lambda: START + trio.current_time() - self.zero,
            chance=lambda: self.chance,
            **more,
        )

    zero: float = field(factory=trio.current_time)

    @property
    def now(self) -> float:
        return trio.current_time() - self.zero


@pytest.fixture
async def world(autojump_clock: object, tmp_path: Path) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        yield World(nursery, tmp_path)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[Supervisor]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        yield supervisor
        await supervisor.stop()


async def until(done: Callable[[], bool]) -> None:
    """By the virtual clock."""
    with trio.fail_after(100):
        while not done():  # noqa: ASYNC110  # the supervisor tells nobody but its state
            await trio.sleep(0.01)


async def test_it_is_started_when_it_is_needed_and_prepared_once(world: World, autojump_clock: object) -> None:
    """Nobody gets the peer of one that is not ready; all get the same."""
    async with running(world.supervisor()) as supervisor:
        await trio.testing.wait_all_tasks_blocked()
        assert ("stopped", []) == (supervisor.state.status, world.processes)
        peers: list[Peer] = []

        async def ask() -> None:
            peers.append(await supervisor.peer())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
        assert world.prepared * 3 == peers
        assert 1 == len(world.processes)
        assert {"n": 2} == await peers[0].call("echo", {"n": 2})
        state = supervisor.state
        assert ("ready", 0, 1.5, "process") == (
            state.status,
            state.restarts,
            state.figures["cpu_seconds"],
            state.evidence["level"],
        )
    assert [("info", "starts"), ("info", "ready"), ("info", "stopped")] == world.notices


async def test_crash_is_followed_by_a_new_start_after_a_delay(world: World, autojump_clock: object) -> None:
    """Told with the last words; a call that comes in the delay waits for the new process."""
    async with running(world.supervisor()) as supervisor:
        first = await supervisor.peer()
        await world.crash("exit status 7: Traceback: no token")
        second = await supervisor.peer()
        assert first is not second
        assert 1.0 == pytest.approx(world.now, abs=0.1)
        assert ("ready", 1) == (supervisor.state.status, supervisor.state.restarts)
        assert "exit status 7: Traceback: no token" == supervisor.state.last_words
    assert ("warning", "crashed: exit status 7: Traceback: no token; starts again in 1.0 s") in world.notices


async def test_open_call_of_a_crashed_plugin_fails_with_its_last_words(world: World, autojump_clock: object) -> None:
    """Whether it had an effect is not known."""
    async with running(world.supervisor()) as supervisor:
        peer = await supervisor.peer()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.processes[0].crash, "ended by SIGSEGV")
            with pytest.raises(SandboxLost) as caught:
                await peer.call("spin")
        assert "ended by SIGSEGV" == caught.value.last_words


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
async def test_delays_double_and_are_scattered(world: World, autojump_clock: object, chance: float) -> None:
    """Full jitter: anything between nothing and the longest delay, by chance."""
    world.chance = chance
    times = []
    async with running(world.supervisor(restarts=Restarts(crashes=100, first=1, most=10))) as supervisor:
        for _ in range(6):
            await supervisor.peer()
            before = world.now
            await world.crash()
            await supervisor.peer()
            times.append(world.now - before)
    expected = [chance * seconds for seconds in (1, 2, 4, 8, 10, 10)]
    assert expected == [pytest.approx(delay, abs=0.1) for delay in times]


async def test_third_crash_in_the_window_is_quarantine(world: World, autojump_clock: object) -> None:
    """It is started no more; whoever needs it is told why, and what to type."""
    async with running(world.supervisor()) as supervisor:
        for number in range(3):
            await supervisor.peer()
            await world.crash(f"boom {number}")
        await until(lambda: supervisor.state.status == "quarantined")
        with pytest.raises(PluginQuarantined, match="boom 2") as caught:
            await supervisor.peer()
        assert "fairlead plugins revive telegram" == caught.value.next_step
        await trio.sleep(10_000)
        assert 3 == len(world.processes)
    assert [level for level, _ in world.notices].count("error") == 1
    assert "quarantined" == supervisor.state.status


async def test_crashes_that_are_far_apart_do_not_count_together(world: World, autojump_clock: object) -> None:
    """The window moves."""
    async with running(world.supervisor()) as supervisor:
        for _ in range(6):
            await supervisor.peer()
            await trio.sleep(400)
            await world.crash()
        await supervisor.peer()
        assert ("ready", 6) == (supervisor.state.status, supervisor.state.restarts)


async def test_quarantine_outlives_the_host_and_is_seen_by_others(world: World, autojump_clock: object) -> None:
    """The next host leaves it alone as well, without having started it."""
    async with running(world.supervisor()) as supervisor:
        for _ in range(3):
            await supervisor.peer()
            await world.crash("ended by SIGSEGV")
        await until(lambda: supervisor.state.status == "quarantined")
    (record,) = read_records(world.file.parent)
    assert ("telegram", "quarantined", 3) == (record.name, record.now, len(record.crashes))
    assert {"ended by SIGSEGV"} == {crash.words for crash in record.crashes}
    async with running(world.supervisor()) as another:
        with pytest.raises(PluginQuarantined):
            await another.peer()
    assert 3 == len(world.processes)


async def test_revived_by_another_program_it_is_started_again(world: World, autojump_clock: object) -> None:
    """At once when it is needed; otherwise its state is right some seconds later."""
    async with running(world.supervisor()) as supervisor:
        for needed in (True, False):
            for _ in range(3):
                await supervisor.peer()
                await world.crash()
            await until(lambda: supervisor.state.status == "quarantined")
            assert revive(world.file, START)
            assert not revive(world.file, START)
            if needed:
                await supervisor.peer()
            else:
                await until(lambda: supervisor.state.status == "ready")
            assert () == supervisor.state.crashes
    assert [("info", "revived: it is started again when it is needed")] * 2 == [
        notice for notice in world.notices if "revived" in notice[1]
    ]


async def test_revived_by_this_program(world: World, autojump_clock: object) -> None:
    """The same, without the file."""
    async with running(world.supervisor()) as supervisor:
        assert not supervisor.revive()
        for _ in range(3):
            await supervisor.peer()
            await world.crash()
        await until(lambda: supervisor.state.status == "quarantined")
        assert supervisor.revive()
        await supervisor.peer()


async def test_plugin_that_fails_while_it_loads_says_so_itself(world: World, autojump_clock: object) -> None:
    """Its own words reach whoever needs it, and it counts as a crash."""
    world.unprepared[:] = [PluginLoadError("the plugin raised ImportError: no module"), ValueError("odd")]
    async with running(world.supervisor()) as supervisor:
        with pytest.raises(PluginLoadError, match="no module"):
            await supervisor.peer()
        with pytest.raises(SandboxLost, match="ValueError: odd"):
            await supervisor.peer()
        await supervisor.peer()
        assert (2, [True, True, False]) == (
            len(supervisor.state.crashes),
            [process.killed for process in world.processes],
        )


async def test_plugin_that_never_gets_ready_is_killed(world: World, autojump_clock: object) -> None:
    """It has its time."""
    world.preparing = "spin"
    async with running(world.supervisor(restarts=Restarts(start_seconds=5))) as supervisor:
        with pytest.raises(SandboxLost, match="not ready within 5 s"):
            await supervisor.peer()
        assert world.processes[0].killed


async def test_machine_that_cannot_isolate_is_no_crash_of_the_plugin(world: World, autojump_clock: object) -> None:
    """Everybody who needs it is told the next step; it is tried again for the next one."""
    world.failures[:] = [EngineUnavailable("no bubblewrap", next_step="sudo apt install bubblewrap") for _ in range(5)]
    async with running(world.supervisor()) as supervisor:
        for _ in range(5):
            with pytest.raises(EngineUnavailable, match="apt install"):
                await supervisor.peer()
        assert ("stopped", ()) == (supervisor.state.status, supervisor.state.crashes)
        await supervisor.peer()


async def test_call_that_does_not_end_when_cancelled_costs_the_process(world: World, autojump_clock: object) -> None:
    """Killed 2 s after the cancellation, and started again."""
    async with running(world.supervisor()) as supervisor:
        peer = await supervisor.peer()
        with trio.move_on_after(1):
            await peer.call("hang")
        assert 3.0 == pytest.approx(world.now, abs=0.2)
        assert world.processes[0].killed
        await supervisor.peer()
        assert supervisor.state.last_words.startswith("it did not end a cancelled call in 2 s, and was killed")
        assert 2 == len(world.processes)


async def test_plugin_that_spins_is_found_by_its_pulse(world: World, autojump_clock: object) -> None:
    """It lives and answers nothing: killed, and started again. One that answers is left alone."""

    async def ask(peer: Peer) -> None:
        await peer.call("spin" if world.now > 100 and len(world.processes) == 1 else "echo")

    async with running(world.supervisor(pulse=Pulse(ask, every=15, within=10))) as supervisor:
        await supervisor.peer()
        await trio.sleep(100)
        assert [False] == [process.killed for process in world.processes]
        await trio.sleep(20)
        assert [True] == [process.killed for process in world.processes][:1]
        await supervisor.peer()
        assert supervisor.state.last_words.startswith("it did not answer within 10 s, and was killed")
        await trio.sleep(300)
        assert 2 == len(world.processes)


async def test_what_is_not_the_protocol_ends_the_process(world: World, autojump_clock: object) -> None:
    """Noise on the stream is the fault of what runs there."""
    async with running(world.supervisor()) as supervisor:
        await supervisor.peer()
        await world.processes[0].far.send(b"\xff" * 100)
        await until(lambda: supervisor.state.status == "backing-off")
        assert world.processes[0].killed
        assert "frame" in supervisor.state.last_words


async def test_stop_lets_it_end_by_itself(world: World, autojump_clock: object) -> None:
    """The end of its input is enough for one that behaves."""
    supervisor = world.supervisor()
    async with running(supervisor):
        await supervisor.peer()
    assert 0 == pytest.approx(world.now, abs=0.1)
    with pytest.raises(SandboxLost, match="'telegram' was stopped"):
        await supervisor.peer()
    record = read_record(world.file)
    assert record is not None
    assert ("stopped", ()) == (record.status, record.crashes)


async def test_stop_kills_what_does_not_end(world: World, autojump_clock: object) -> None:
    """After 2 s; whoever waits is told."""
    supervisor = world.supervisor()
    async with running(supervisor):
        await supervisor.peer()
        world.processes[0].far.deaf = world.processes[0].ended
    assert 2 == pytest.approx(world.now, abs=0.6)
    assert world.processes[0].killed
    assert "stopped" == supervisor.state.status


async def test_stop_during_a_delay_ends_it_at_once(world: World, autojump_clock: object) -> None:
    """And those who waited for the next start are told."""
    supervisor = world.supervisor(restarts=Restarts(first=1000, most=1000))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await supervisor.peer()
        await world.crash()
        await until(lambda: supervisor.state.status == "backing-off")
        assert START + 1000 == pytest.approx(supervisor.state.next_start, abs=1)
        nursery.start_soon(supervisor.stop)
        with pytest.raises(SandboxLost, match="was stopped"):
            await supervisor.peer()
    assert world.now < 10
    assert 1 == len(world.processes)


async def test_cancelled_supervisor_leaves_nothing(world: World, autojump_clock: object) -> None:
    """Whoever waits is told, and the process is killed."""
    supervisor = world.supervisor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await supervisor.peer()
        nursery.cancel_scope.cancel()
    assert world.processes[0].killed
    with pytest.raises(SandboxLost, match="was stopped"):
        await supervisor.peer()


async def test_state_file_that_cannot_be_written_is_told_and_nothing_more(world: World, autojump_clock: object) -> None:
    """The plugin runs all the same."""
    world.file.parent.write_text("a file where a directory should be")
    async with running(world.supervisor()) as supervisor:
        await supervisor.peer()
    assert any("not kept" in detail for _, detail in world.notices)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', '{"name":"x","status":"odd","since":1,"crashes":[]}'])
async def test_state_file_that_cannot_be_understood_is_as_none(world: World, autojump_clock: object, text: str) -> None:
    """It is written anew."""
    world.file.parent.mkdir()
    world.file.write_text(text)
    assert read_record(world.file) is None
    assert not revive(world.file, START)
    async with running(world.supervisor()) as supervisor:
        await supervisor.peer()
        record = read_record(world.file)
        assert record is not None
        assert "ready" == record.now


async def test_state_of_a_host_that_died_is_stopped(world: World, autojump_clock: object) -> None:
    """A file says ready, and nobody is there."""
    async with running(world.supervisor()) as supervisor:
        await supervisor.peer()
        text = world.file.read_text()
        world.file.write_text(text.replace(f'"host": {os.getpid()}', '"host": 999999999'))
        record = read_record(world.file)
        assert record is not None
        assert ("ready", "stopped") == (record.status, record.now)
