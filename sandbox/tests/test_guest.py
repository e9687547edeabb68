"""A plugin in a process of its own: how it is loaded, what it may do to itself, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead import Principal, Text, Tool, ToolCall, ToolResult
from fairlead.errors import PluginLoadError, ToolError
from fairlead.events import Record, SessionStarted
from fairlead.testing import FakeInbox, FakeToolContext
from fairlead_sandbox.errors import SandboxError, SandboxLost

from .boundary_guests import PATHS, Launcher, launching

TRIO, ASYNCIO = "boundary_trio_plugins", "boundary_asyncio_plugins"
Launch = Callable[..., Launcher]


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    async with launching() as launch:
        yield launch


async def odd(launch: Launch, **options: Any) -> tuple[Launcher, Tool]:
    """The worker with the odd tools, opened."""
    launcher = launch("tools", TRIO, options=options)
    (tool,) = (await launcher.plugin.workers())["tools"]
    assert isinstance(tool, Tool)
    await tool.open()
    return launcher, tool


async def use(tool: Tool, name: str, context: FakeToolContext | None = None) -> str:
    result = await tool.call(ToolCall("c1", name, {}), context or FakeToolContext())
    return result if isinstance(result, str) else result.text


# -- loading

LOAD_FAULTS = {
    "no module": ("no_such_module", {}, "importing it raised ModuleNotFoundError"),
    "no attribute": (f"{TRIO}:nothing", {}, "importing it raised AttributeError"),
    "exits at import": ("boundary_broken_plugin", {}, "importing it raised SystemExit: no plugin of mine"),
    "a class": (f"{TRIO}:OddTool", {}, "found the class OddTool, expected a module or an object with hooks"),
    "no hook": ("json", {}, "expected the hook fairlead_tools; found none"),
    "exits in its hook": (TRIO, {"fail": "hook"}, "fairlead_tools() raised SystemExit: not for you"),
    "no worker": (TRIO, {"fail": "stranger"}, "gave an object of type str, expected a list of Tool objects"),
}


@pytest.mark.parametrize("case", LOAD_FAULTS)
async def test_plugin_that_cannot_be_loaded_says_why(launch: Launch, case: str) -> None:
    """As a typed error with the next step; it is no end of the process."""
    entry_point, options, problem = LOAD_FAULTS[case]
    launcher = launch("tools", entry_point, options=options)
    with pytest.raises(PluginLoadError) as caught:
        await launcher.plugin.workers()
    assert problem in caught.value.problem
    assert ("tools/kit", True) == (caught.value.plugin, bool(caught.value.next_step))
    assert not launcher.started[-1].ended.is_set()


async def test_plugin_that_leaves_while_it_is_loaded_is_lost(launch: Launch) -> None:
    """The process is gone, and its exit status is told."""
    with pytest.raises(SandboxLost) as caught:
        await launch("tools", TRIO, options={"fail": "leave"}).plugin.workers()
    assert "exit 5:" == caught.value.last_words


async def test_open_that_exits_is_an_error(launch: Launch) -> None:
    """The process lives on."""
    launcher = launch("tools", TRIO, options={"fail": "open"})
    (tool,) = (await launcher.plugin.workers())["tools"]
    with pytest.raises(SandboxError, match="it raised SystemExit: I will not"):
        await tool.open()
    assert not launcher.started[-1].ended.is_set()


def test_import_is_cheap_and_knows_no_docker() -> None:
    """A plugin's process pays for what it uses: no SDK, no isolation backend."""
    program = (
        f"import sys; sys.path.extend({PATHS!r}); import fairlead_sandbox.guest._main;"
        " print([name for name in ('docker', 'requests', 'stevedore', 'jsonschema') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout


# -- what it may do to itself


async def test_printing_does_not_touch_the_protocol(launch: Launch) -> None:
    """Neither Python's streams nor the descriptors 0 and 1 lead to the host."""
    launcher, tool = await odd(launch)
    assert "b''" == await use(tool, "noise")
    assert "kit nobody" == await use(tool, "fine")
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert b"a plugin that prints" in launcher.started[0].last


async def test_errors_of_a_call_are_typed_and_the_process_goes_on(launch: Launch) -> None:
    """Also one that would end a program."""
    launcher, tool = await odd(launch)
    with pytest.raises(ToolError) as caught:
        await use(tool, "please")
    assert ("say please", "please") == (caught.value.problem, caught.value.next_step)
    with pytest.raises(SandboxError, match="it raised ZeroDivisionError: by nothing"):
        await use(tool, "raise")
    with pytest.raises(SandboxError, match="it raised SystemExit: 3"):
        await use(tool, "exit")
    assert "kit nobody" == await use(tool, "fine")
    assert 1 == len(launcher.started)


async def test_asyncio_plugin_that_leaves_fails_the_call_alone(launch: Launch) -> None:
    """Where asyncio by itself would end the program."""
    launcher = launch("tools", ASYNCIO, runtime="asyncio")
    (tool,) = (await launcher.plugin.workers())["tools"]
    await tool.open()
    with pytest.raises(SandboxError, match="it raised SystemExit: 3"):
        await tool.call(ToolCall("c1", "letters", {"text": "leave"}), FakeToolContext())
    result = await tool.call(ToolCall("c2", "letters", {"text": "stay"}), FakeToolContext())
    assert "4 letters" == result.text
    assert 1 == len(launcher.started)


async def test_process_that_leaves_is_started_again(launch: Launch) -> None:
    """The call is lost, with the last words; the next one finds the worker open in a new process."""
    launcher, tool = await odd(launch)
    with pytest.raises(SandboxLost) as caught:
        await use(tool, "leave")
    assert "exit 7: these are my last words" == caught.value.last_words
    assert "kit nobody" == await use(tool, "fine")
    assert 2 == len(launcher.started)


async def test_closed_worker_is_not_opened_again(launch: Launch) -> None:
    """And to close one whose process is gone starts none."""
    launcher, tool = await odd(launch)
    with pytest.raises(SandboxLost):
        await use(tool, "leave")
    await tool.close()
    assert 1 == len(launcher.started)
    await launcher.link()
    opened = [frame for frame in launcher.started[1].pipes.frames() if frame.get("op") == "open"]
    assert [] == opened


async def test_cancelled_call_is_cancelled_there(launch: Launch) -> None:
    """And the process goes on."""
    launcher, tool = await odd(launch)
    with trio.move_on_after(0.2):
        await use(tool, "patient")
    assert "1" == await use(tool, "count")
    assert 1 == len(launcher.started)


async def test_call_that_ignores_cancellation_is_killed(launch: Launch) -> None:
    """After 2 s; so is one that keeps the event loop to itself. Whoever cancelled waits no longer."""
    launcher, tool = await odd(launch)
    for name in ("stubborn", "spin"):
        began = trio.current_time()
        with trio.move_on_after(0.2):
            await use(tool, name)
        assert 2 <= trio.current_time() - began < 3
        assert "kit nobody" == await use(tool, "fine")
    assert 3 == len(launcher.started)


async def test_context_is_the_calls_own(launch: Launch) -> None:
    """Session, principal, clock, progress; recall only where it is offered, and in the scope that the host knows."""
    _, tool = await odd(launch)
    context = FakeToolContext("s1", Principal("kit:alice"))
    assert "s1 kit:alice" == await use(tool, "fine", context)
    assert ["on it"] == context.told
    assert "True" == await use(tool, "now", context)
    assert "nothing to remember with" == await use(tool, "remember", context)
    memory = launch("memories", ASYNCIO, runtime="asyncio")
    (kept,) = (await memory.plugin.workers())["memories"]
    await kept.open()
    assert "kit:alice 1 1" == await use(tool, "remember", FakeToolContext("s1", Principal("kit:alice"), kept.recall))
    assert "session:s1 1 1" == await use(tool, "remember", FakeToolContext("s1", None, kept.recall))


async def test_secret_is_a_handle_and_the_environment_is_empty(launch: Launch) -> None:
    """The value never enters the process."""
    _, tool = await odd(launch, key={"$secret": "handle-1", "source": "env KEY"})
    assert "handle-1 Secret(from env KEY) ['LC_CTYPE']" == await use(tool, "hidden")


async def test_way_out_leads_to_the_hosts_socket(launch: Launch, tmp_path: Path) -> None:
    """A library that knows of proxies finds one on a port of its own."""
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(tmp_path / "way"))
    listener.listen()

    async def answer() -> None:
        connection, _ = await listener.accept()
        with connection:
            await connection.send(b"yes: " + await connection.recv(100))

    with listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            launcher = launch("tools", TRIO, egress=tmp_path / "way")
            (tool,) = (await launcher.plugin.workers())["tools"]
            await tool.open()
            assert "yes: anybody there?" == await use(tool, "reach")


async def test_evidence_is_the_hosts(launch: Launch) -> None:
    """A plugin can forge neither where it ran nor which call it answers."""
    launcher, tool = await odd(launch)
    result = await tool.call(ToolCall("c1", "forge", {}), FakeToolContext())
    pid = launcher.started[0].process.pid
    assert ToolResult("c1", "forge", (Text("x"),), evidence={"level": "process", "pid": pid}) == result


# -- the end


@pytest.mark.parametrize("name", ["patient", "stubborn", "spin"])
async def test_process_ends_with_its_host(launch: Launch, name: str) -> None:
    """When its standard input ends, whatever it is doing."""
    launcher, tool = await odd(launch)
    assert launcher.peer is not None
    async with trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(SandboxLost):
                await use(tool, name)

        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked(0.1)
        stdin = launcher.started[0].process.stdin
        assert stdin is not None
        await stdin.aclose()
        with trio.fail_after(3):
            await launcher.started[0].ended.wait()


async def test_asyncio_plugin_is_cancelled_once(launch: Launch, tmp_path: Path) -> None:
    """What it awaits on its way out is not cancelled again: a library can say goodbye."""
    goodbye = tmp_path / "goodbye"
    launcher = launch("channels", ASYNCIO, runtime="asyncio", options={"goodbye": str(goodbye)})
    (channel,) = (await launcher.plugin.workers())["channels"]
    await channel.open()
    inbox = FakeInbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run, inbox)
        await inbox.wait_ready()
        nursery.cancel_scope.cancel()
    assert "goodbye" == goodbye.read_text()
    assert launcher.peer is not None
    assert launcher.peer.ended is None


async def test_observers_of_both_runtimes_are_shown_what_happens(launch: Launch, tmp_path: Path) -> None:
    """Beside the workers of the plugin, in the same process."""
    for entry_point, runtime, option, expected in (
        (TRIO, "trio", "diary", "s 1 session_started\ns 2 session_started\n"),
        (ASYNCIO, "asyncio", "counter", "2"),
    ):
        path = tmp_path / option
        launcher = launch("tools", entry_point, runtime=runtime, options={option: str(path)})
        workers = await launcher.plugin.workers()
        (observer,) = workers["observers"]
        assert ("kit", 1) == (observer.name, len(workers["tools"]))
        await observer.open()
        for version in (1, 2):
            await observer.observe(Record("s", version, SessionStarted(at=1.0, agent="main")))
        assert expected == path.read_text()
