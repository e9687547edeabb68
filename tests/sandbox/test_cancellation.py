"""Cancelled at whatever point: no container, process, thread, open file, mount or temporary directory is left."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import fairlead
from fairlead import App
from fairlead.config import Config, PluginConfig
from fairlead.events import ToolReturned
from fairlead.testing import CapturingChannel, ScriptedProvider
from fairlead_sandbox.process import look_at_machine

from .engine import Belongings
from .hosted import configure, missing, obey, require_engine
from .installed import install

NAME = "acme-sleeper"
SOURCE = """
import os
import subprocess
import time

import trio

from fairlead import Tool, ToolSpec
from fairlead.hookspecs import hookimpl


class Sleeper(Tool):
    def specs(self):
        return [ToolSpec("sleep", "Sleeps.", {"type": "object"}, effect="read", isolation="process", timeout=30.0)]

    async def call(self, call, context):
        open("/tmp/left", "w").write("x")
        match call.arguments["how"]:
            case "politely":
                await trio.sleep(call.arguments["seconds"])
            case "stubbornly":
                with trio.CancelScope(shield=True):
                    await trio.sleep(call.arguments["seconds"])
            case "blocking":
                time.sleep(call.arguments["seconds"])
            case "child":
                subprocess.Popen(["sleep", "99"], start_new_session=True)
                await trio.sleep(call.arguments["seconds"])
        return "slept"


@hookimpl
def fairlead_tools(settings):
    return [Sleeper()]
"""
EXAMPLES = int(os.environ.get("FAIRLEAD_EXAMPLES", "2"))
"""A sample; `FAIRLEAD_EXAMPLES=20 uv run tox -e tests -- tests/sandbox/test_cancellation.py` is the long proof."""
WAYS = ("politely", "stubbornly", "blocking", "child")
SESSIONS = st.sampled_from(("s0", "s1", "s2"))
MOMENTS = st.one_of(st.just(0.0), *(st.floats(0.0, most) for most in (0.01, 0.05, 0.3, 0.6)))
"""Seconds: before it begins, while it is handed over, while it runs, while it is being ended."""
at_random = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to make a failure shorter would take hours
    suppress_health_check=(HealthCheck.function_scoped_fixture, HealthCheck.too_slow),
)


@pytest.fixture(scope="module", params=["container", "process"])
def config(packages: Path, data: Path, request: pytest.FixtureRequest) -> Config:
    level: Literal["container", "process"] = request.param
    if level == "container":
        require_engine()
    elif not trio.run(look_at_machine).bubblewrap:
        missing("plugin processes are isolated by bubblewrap: sudo apt install bubblewrap")
    manifest = '{"api": "1.0", "mounts": ["workspace"]}'
    files = {"acme_sleeper/__init__.py": SOURCE, "acme_sleeper/fairlead-plugin.json": manifest}
    install(packages, NAME, {"tools": "acme_sleeper"}, files)
    return configure(data, PluginConfig("tools", NAME, isolation=level))


@pytest.fixture(autouse=True)
def _temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A directory for temporary files that nobody else on the machine uses."""
    with tempfile.TemporaryDirectory(prefix="t") as directory:
        Path(directory).chmod(0o711)  # other users go through it to their sockets
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield


def opened(config: Config) -> AbstractAsyncContextManager[App]:
    return fairlead.open(config, providers=[ScriptedProvider([obey], repeat=True)])


async def call(app: App, session: str, how: str, seconds: float) -> str:
    order = {"tool": "sleep", "arguments": {"how": how, "seconds": seconds}}
    return (await app.ask(json.dumps(order), session=session)).text


@at_random
@given(plan=st.lists(st.tuples(SESSIONS, st.sampled_from(WAYS), MOMENTS), min_size=20, max_size=20))
def test_cancelled_calls_leave_nothing(config: Config, plan: list[tuple[str, str, float]]) -> None:
    """Twenty of them in one app, in three sessions, each at its own moment; the next call works."""

    async def main() -> None:
        async with opened(config) as app:
            assert ": slept" == await call(app, "warm", "politely", 0.0)
            for session, how, moment in plan:
                with trio.move_on_after(moment):
                    await call(app, session, how, 20.0)
            for session in ("s0", "s1", "s2", "warm"):
                assert ": slept" == await call(app, session, "politely", 0.0)

    before = Belongings.now(config.data_dir)
    trio.run(main)
    assert {} == Belongings.now(config.data_dir).more_than(before)


@at_random
@given(plan=st.lists(st.tuples(st.sampled_from(WAYS), st.floats(0.0, 1.2)), min_size=10, max_size=10))
def test_cancelled_apps_leave_nothing(config: Config, plan: list[tuple[str, float]]) -> None:
    """While they open, while they call, while they close."""

    async def main(how: str, moment: float) -> None:
        with trio.move_on_after(moment):
            async with opened(config) as app:
                await call(app, "s", how, 20.0)

    trio.run(main, "politely", 1.0)
    before = Belongings.now(config.data_dir)
    for how, moment in plan:
        trio.run(main, how, moment)
    assert {} == Belongings.now(config.data_dir).more_than(before)


@pytest.mark.parametrize("how", ["stubbornly", "blocking", "child"])
def test_lane_is_free_five_seconds_after_a_cancel(config: Config, how: str) -> None:
    """Also where the plugin ignores it: its worker is killed, and the next message of the conversation is answered."""

    def answer(request: fairlead.ModelRequest) -> object:
        return "next" if request.history[-1].text == "next" else obey(request)

    async def main() -> None:
        channel = CapturingChannel()
        provider = ScriptedProvider([answer], repeat=True)  # type: ignore[list-item]  # what `obey` gives, or text
        async with (
            fairlead.open(config, providers=[provider], channels=[channel]) as app,
            trio.open_nursery() as serving,
        ):
            serving.start_soon(app.serve)
            assert ": slept" == await call(app, "warm", "politely", 0.0)
            order = {"tool": "sleep", "arguments": {"how": how, "seconds": 25.0}}
            receipt = await channel.say(json.dumps(order))
            await trio.sleep(3.0)  # real time: the call begins in another process
            assert await channel.cancel()
            began = trio.current_time()
            await channel.say("next")
            texts = [(await channel.next()).parts[0].text for _ in range(2)]  # type: ignore[union-attr]  # text parts
            assert ["The turn was cancelled.", "next"] == texts
            assert trio.current_time() - began < 5.0
            records = await app.sessions.records(receipt.session)
            results = [record.event.result.error for record in records if isinstance(record.event, ToolReturned)]
            assert ["cancelled"] == results
            serving.cancel_scope.cancel()

    trio.run(main)
