"""An agent on a real server: with a scripted model in this process, and as `fairlead run` that is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import define

import fairlead
from fairlead import events as ev
from fairlead.config import Config, PluginConfig
from fairlead.testing import CountingTool, RecordingObserver, ScriptedProvider, calls

from .bots import FAST, SECONDS
from .daemon import Daemon, Person, person, serving

COMMAND = (sys.executable, "-m", "fairlead_cli")
CONFIG = """
[models]
default = "rehearsal/rehearsal"

[providers.rehearsal]

[tools.calculator]

[[policies.rules.rules]]
name = "tools"
effect = "allow"
actions = ["tool_call"]

[policies.contacts]
isolation = "host"
allow = ["irc:127.0.0.1:mask:ann!*"]

[channels.irc]
isolation = "host"
host = "127.0.0.1"
port = {port}
tls = false
nick = "bot"
channels = ["#room"]
flood_burst = 1000
flood_seconds = 0
reconnect_seconds = 0.05
reconnect_max_seconds = 0.2
"""


@asynccontextmanager
async def agent(
    daemon: Daemon, model: ScriptedProvider, *tools: CountingTool
) -> AsyncIterator[tuple[fairlead.App, RecordingObserver]]:
    """An app with the channel, which was loaded by its entry point."""
    options = {"host": "127.0.0.1", "port": daemon.port, "tls": False, "nick": "bot", "channels": ["#room"], **FAST}
    table = PluginConfig("channels", "irc", isolation="host", options=options)
    observer = RecordingObserver()
    async with (
        fairlead.open(Config(plugins=(table,)), providers=[model], tools=tools, observers=[observer]) as app,
        trio.open_nursery() as nursery,
    ):
        assert [("channels/irc", "ready")] == [(report.plugin, report.status) for report in app.reports]
        nursery.start_soon(app.serve)
        with trio.fail_after(SECONDS):
            await observer.wait_for(ev.NoticeRaised)
            yield app, observer
            app.stop()


async def test_agent_with_a_tool_answers_in_the_room() -> None:
    """The question, the call, the result and the answer, to who asked; the journal knows that it is sent."""
    model = ScriptedProvider([calls(("count", {"what": "ships"})), "there are 3 ships"])
    tool = CountingTool(outcome="3")
    async with serving() as daemon, person(daemon, "ann", "#room") as ann, agent(daemon, model, tool) as (_, seen):
        await ann.say("PRIVMSG #room :bot: how many ships?")
        await ann.expect("PRIVMSG #room :ann: there are 3 ships")
        delivered = await seen.wait_for(ev.AnswerDelivered)
    assert ("sent", True) == (delivered.status, bool(delivered.external_id))
    assert "how many ships?" == model.requests[0].history[0].text
    assert [{"what": "ships"}] == [call.arguments for call in tool.calls]


async def test_answer_waits_for_the_server_that_restarts() -> None:
    """The server dies while the model thinks; the answer comes once, when both are back."""
    reached, free = trio.Event(), trio.Event()

    async def slow(_: object) -> str:
        reached.set()
        await free.wait()
        return "here it is"

    async with serving() as daemon, agent(daemon, ScriptedProvider([slow, "and this"])) as (app, seen):
        async with person(daemon, "ann", "#room") as ann:
            await ann.say("PRIVMSG #room :bot: take your time")
            await reached.wait()
            await daemon.stop(kill=True)
        free.set()
        await daemon.start()
        async with person(daemon, "ann", "#room") as ann:
            first = await seen.wait_for(ev.AnswerDelivered)
            await ann.meet("bot", "#room")
            await ann.say("PRIVMSG #room :bot: more")
            await ann.expect("PRIVMSG #room :ann: and this")
        assert app.reports[0].error is None
    assert "sent" == first.status
    assert ann.texts("#room").count("ann: here it is") <= 1, "ann herself may have come back too late for it"


@define
class Run:
    """A `fairlead run` in a directory of its own."""

    path: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.path / "fairlead.toml").write_text(CONFIG.format(port=self.port))
        with (self.path / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "run"],
                cwd=self.path,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def environment(self) -> dict[str, str]:
        ours = ("FAIRLEAD_", "OPENAI_", "ANTHROPIC_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**inherited, "FAIRLEAD_DATA": str(self.path / "data")}

    async def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return await trio.to_thread.run_sync(self.process.wait, SECONDS)

    async def audit(self) -> subprocess.CompletedProcess[str]:
        """What the command says of the whole journal."""
        return await trio.to_thread.run_sync(
            lambda: subprocess.run(
                [*COMMAND, "sessions", "audit"],
                cwd=self.path,
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
            )
        )


@asynccontextmanager
async def run(path: Path, port: int) -> AsyncIterator[Run]:
    started = Run(path, port)
    started.start()
    try:
        yield started
    finally:
        if started.process is not None and started.process.poll() is None:
            started.process.kill()
            started.process.wait(SECONDS)


async def ask(someone: Person, *numbers: int) -> None:
    for number in numbers:
        await someone.say(f"PRIVMSG #room :bot: what is {number} * 3?")


def answers(someone: Person) -> list[int]:
    """The questions that were answered, in the order of the answers."""
    found = [re.search(r"(\d+) \* 3 = (\d+)", text) for text in someone.texts("#room")]
    assert all(int(each[1]) * 3 == int(each[2]) for each in found if each)
    return [int(each[1]) for each in found if each]


async def test_killed_run_answers_what_it_had_taken_once(tmp_path: Path) -> None:
    """SIGKILL in the middle, twice: nothing is answered twice, and of what was accepted nothing is without an end."""
    async with serving() as daemon, person(daemon, "ann", "#room") as ann, run(tmp_path, daemon.port) as running:
        for life in range(2):
            await ann.expect("JOIN :#room", life + 2)
            await ask(ann, *range(10 * life + 1, 10 * life + 10))
            await ann.expect(f"PRIVMSG #room :ann: {10 * life + 1 + life} * 3 =")
            assert -signal.SIGKILL == await running.end(signal.SIGKILL)
            running.start()
        await ann.expect("JOIN :#room", 4)
        await ask(ann, 100)
        await ann.expect("PRIVMSG #room :ann: 100 * 3 = 300")
        assert 0 == await running.end(signal.SIGTERM)
        audit = await running.audit()
    found = answers(ann)
    assert len(found) == len(set(found)), found
    assert 0 == audit.returncode, audit.stdout + audit.stderr


async def test_run_survives_the_restart_of_the_server(tmp_path: Path) -> None:
    """It is joined again by itself, and goes on; a stranger gets a code and no answer."""
    async with serving() as daemon, run(tmp_path, daemon.port):
        async with person(daemon, "ann", "#room") as ann:
            await ann.meet("bot", "#room")
            await ask(ann, 1)
            await ann.expect("PRIVMSG #room :ann: 1 * 3 = 3")
            await daemon.stop(kill=True)
        await daemon.start()
        async with person(daemon, "ann", "#room") as ann, person(daemon, "eve", "#room") as eve:
            await ann.meet("bot", "#room")
            await ask(ann, 2)
            await ann.expect("PRIVMSG #room :ann: 2 * 3 = 6")
            await eve.say("PRIVMSG bot :what is 5 * 5?")
            await eve.expect("NOTICE eve :This was refused by 'contacts'")
            await eve.settle()
    assert [2] == answers(ann)
    assert [] == eve.texts("eve")
