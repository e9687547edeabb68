"""A plugin of each of the five kinds misbehaves in every way; its neighbour answers, and the host is whole."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field

from fairlead import Address, Message, ModelRequest, Outbound, Review, Text, ToolCall
from fairlead.errors import FairleadError, PluginLoadError
from fairlead.testing import Deltas, FakeToolContext
from fairlead_sandbox.environments import Environment
from fairlead_sandbox.errors import PluginQuarantined
from fairlead_sandbox.guest import guest_command
from fairlead_sandbox.process import (
    Machine,
    ProcessLimits,
    ProcessSpec,
    Pulse,
    Restarts,
    Supervisor,
    launch,
    look_at_machine,
)
from fairlead_sandbox.process._tree import descendants
from fairlead_sandbox.remote import RemotePlugin

from .boundary_guests import PATHS, hello_for
from .process_guests import alive, require

KINDS = ("channels", "memories", "policies", "providers", "tools")
MEGABYTE = 1 << 20
TOKEN = "token-of-the-host-5c1b"
GROWTH = 64 * 1024
"""Kilobytes that the host may grow in a test."""


@pytest.fixture(scope="module")
def machine() -> Machine:
    return require(trio.run(look_at_machine), bubblewrap=True)


@define
class Hosted:
    """One supervised plugin with its worker, opened."""

    supervisor: Supervisor
    worker: Any
    pids: set[int] = field(factory=set)

    async def use(self, word: str) -> str:
        """Ask the worker in the way of its kind; what it answers."""
        self.pids |= set(descendants(os.getpid())[1:])
        parts = (Text(word),)
        kind = type(self.worker).__name__
        if kind == "RemoteChannel":
            delivery = await self.worker.send(Outbound("o1", Address("x", "room"), parts))
            return str(delivery.external_id)
        if kind == "RemoteProvider":
            answer = await self.worker.generate(ModelRequest("m", (Message("user", parts),)), Deltas())
            return str(answer.parts[0].text)
        if kind == "RemoteTool":
            result = await self.worker.call(ToolCall("c1", "act", {"word": word}), FakeToolContext())
            return str(result if isinstance(result, str) else result.text)
        if kind == "RemoteMemory":
            (note,) = await self.worker.recall.search("scope", word)
            return str(note.text)
        (verdict,) = await self.worker.review(Review("message_in", Message("user", parts)))
        return str(verdict.reason)


@asynccontextmanager
async def hosted(
    kind: str, machine: Machine, work: Path, *, restarts: Restarts | None = None, opened: bool = True, **options: Any
) -> AsyncIterator[Hosted]:
    """As an app has it: launched, supervised, prepared again after each crash; stopped in the end."""
    environment = Environment(tuple(map(Path, PATHS)), "of the tests")
    spec = ProcessSpec(
        guest_command(sys.executable, PATHS), environment, work, ProcessLimits(memory_bytes=192 * MEGABYTE)
    )
    hello = hello_for(kind, "process_hostile_plugin", name=work.name, options=options, data_dir=work)
    async with trio.open_nursery() as nursery:
        plugin = RemotePlugin(hello, lambda: supervisor.peer(), level="process")  # noqa: PLW0108  # it is made below
        supervisor = Supervisor(
            work.name,
            partial(launch, spec, nursery, machine),
            plugin.prepare,
            serve=plugin.serve,
            restarts=restarts or Restarts(crashes=100, first=0.0),
            pulse=Pulse(plugin.ping, every=0.5, within=1.0),
            state_file=work.with_suffix(".json"),
        )
        nursery.start_soon(supervisor.run)
        found = Hosted(supervisor, None)
        if opened:
            found.worker = (await plugin.workers())[kind][0]
            await found.worker.open()
        yield found
        await supervisor.stop()
    assert [] == alive(found.pids - set(descendants(os.getpid())))


CRASHES = {
    "later": "exit status 1: ",
    "exit": "exit status 9: last words",
    "crash": "ended by SIGSEGV",
    "spin": "it did not answer within 1 s, and was killed",
    "shout": "it did not answer within 1 s, and was killed",
    "flood": "found a frame of",
}
"""What is told of each."""
ANSWERED = ("throw", "leave", "fork")
"""An error is their answer, and the process lives on."""


async def use_and_fail(plugin: Hosted, word: str) -> None:
    crashes = len(plugin.supervisor.state.crashes)
    with trio.fail_after(20):
        if word == "later":
            with suppress(FairleadError):  # its answer may be faster
                await plugin.use(word)
        else:
            with pytest.raises(FairleadError):
                await plugin.use(word)
        while word in CRASHES and len(plugin.supervisor.state.crashes) == crashes:  # noqa: ASYNC110  # tells nobody
            await trio.sleep(0.01)  # real time: another process ends


async def answers(plugin: Hosted, count: int) -> float:
    """That many answers of a healthy plugin; the seconds of processor time that each cost the host."""
    before = os.times()
    with trio.fail_after(30):
        for _ in range(count):
            assert "fine" == await plugin.use("do nothing")
    after = os.times()
    return (after.user + after.system - before.user - before.system) / count


@pytest.mark.parametrize("kind", KINDS)
async def test_neighbour_answers_whatever_a_plugin_does(kind: str, machine: Machine, tmp_path: Path) -> None:
    """Each misdeed, one after the other: told with its cause, started again, and the worker works as before."""
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with hosted("tools", machine, tmp_path / "healthy") as healthy, hosted(kind, machine, tmp_path / "b") as bad:
        usual = await answers(healthy, 100)
        for word in (*ANSWERED, *CRASHES, "leak"):
            crashes = len(bad.supervisor.state.crashes)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(use_and_fail, bad, word)
                cost = await answers(healthy, 100)
            # Twice the usual and what reading its output may cost: processor time, which is the same on a busy machine.
            assert cost < 2 * usual + 0.002, word
            assert "fine" == await bad.use("do nothing"), word
            state = bad.supervisor.state
            assert "ready" == state.status
            if word in CRASHES:
                assert CRASHES[word] in state.last_words, word
                assert crashes + 1 == len(state.crashes), state.crashes
            elif word in ANSWERED:
                assert crashes == len(state.crashes)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown < GROWTH


@pytest.mark.parametrize("kind", KINDS)
async def test_ignored_cancellation_is_ended_by_force(kind: str, machine: Machine, tmp_path: Path) -> None:
    """2 s after the cancellation; then it works again."""
    async with hosted(kind, machine, tmp_path / "stubborn") as bad:
        with trio.fail_after(10), trio.move_on_after(0.2):
            await bad.use("ignore")
        assert "fine" == await bad.use("do nothing")
        assert "did not end a cancelled call in 2 s" in bad.supervisor.state.last_words


@pytest.mark.parametrize("kind", KINDS)
async def test_secrets_of_the_host_are_out_of_reach(
    kind: str, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in its environment, its arguments, other processes, or any file that it can find; signals reach nobody."""
    monkeypatch.setenv("FAIRLEAD_TOKEN", TOKEN)
    secret = tmp_path / "fairlead.toml"
    secret.write_text(f'token = "{TOKEN}"')
    paths = [str(secret), f"/proc/{os.getpid()}/environ", f"/proc/1/root{secret}", "/etc/shadow", "/etc/passwd"]
    async with hosted(kind, machine, tmp_path / "spy") as bad:
        text = await bad.use(f"spy {json.dumps(paths)}")
        assert "'HOME'" in text
        assert TOKEN not in text
        assert "root:" not in text
        with pytest.raises(FairleadError):
            await bad.use("kill")
        assert "fine" == await bad.use("do nothing")


@pytest.mark.parametrize("word", ["throw", "leave", "exit", "crash", "leak", "kill"])
async def test_plugin_that_fails_while_it_loads_is_left_alone_in_the_end(
    word: str, machine: Machine, tmp_path: Path
) -> None:
    """After three starts; each said why."""
    restarts = Restarts(crashes=3, first=0.0)
    async with hosted("tools", machine, tmp_path / "bad", restarts=restarts, opened=False, load=word) as bad:
        for _ in range(3):
            with pytest.raises(FairleadError) as caught:
                await bad.supervisor.peer()
            if word in ("throw", "leave"):
                assert isinstance(caught.value, PluginLoadError)
        with pytest.raises(PluginQuarantined, match="crashed 3 times"):
            await bad.supervisor.peer()
        assert "quarantined" == bad.supervisor.state.status
