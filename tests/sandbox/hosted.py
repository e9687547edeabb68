"""A whole app in a thread of its own, for tests that share it: each calls a tool over the whole path."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
import trio
from attrs import define, field

import fairlead
from fairlead import App, ModelAnswer, ModelRequest, Observer, ToolCall, ToolResult
from fairlead.config import Config, PluginConfig
from fairlead.events import NoticeRaised, Record, ToolReturned
from fairlead.testing import ScriptedProvider, calls
from fairlead_sandbox.container import open_engine
from fairlead_sandbox.errors import EngineUnavailable, ImageMissing
from fairlead_sandbox.image import ImageBuildError, build_image, find_image

__all__ = ["RULES", "Hosted", "Notices", "configure", "hosted", "missing", "require_engine", "told"]

T = TypeVar("T")
RULES = PluginConfig(
    "policies",
    "rules",
    options={
        "rules": [{"name": "all", "effect": "allow", "actions": ["tool_call"], "resources": ["*"], "layer": "app"}]
    },
)
"""Every tool may be called: what happens then is the question."""


def missing(problem: str) -> NoReturn:
    """Skip, or fail where nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {problem}")
    pytest.skip(problem)


def require_engine(*, runtime: str = "") -> None:
    """An engine with the base image (made here where it has none) and with that runtime."""

    async def look() -> str:
        async with open_engine(project="fairlead", roots=[]) as engine:
            try:
                await find_image(engine)
            except ImageMissing:
                await build_image(engine)
            if runtime and runtime not in engine.facts.runtimes:
                return f"the engine has no runtime {runtime!r}: apt-get install runsc, and name it in daemon.json"
        return ""

    try:
        problem = trio.run(look)
    except (EngineUnavailable, ImageBuildError) as error:
        problem = str(error)
    if problem:
        missing(problem)


def configure(data: Path, *tables: PluginConfig, **isolation: Any) -> Config:
    """An app of these plugins, with every tool allowed. `isolation`: keys of the table of that name."""
    return Config(data_dir=data, plugins=(*tables, RULES), isolation=isolation)


class Notices(Observer):
    """Keeps what the app says of itself."""

    name = "notices"

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def observe(self, record: Record) -> None:
        if isinstance(record.event, NoticeRaised):
            self.texts.append(f"{record.event.subject}: {record.event.detail}")


def told(result: ToolResult) -> str:
    """What became of a call: its text, or the class of its failure."""
    return result.text if not result.error else result.text.partition(":")[0]


def obey(request: ModelRequest) -> ModelAnswer | ToolCall | str:
    """A model that calls the tool that it is told to call, once; or several at the same time."""
    last = request.history[-1]
    if isinstance(last, ToolResult):
        return f"{last.error}: {last.text}"
    wanted = json.loads(last.text)
    if isinstance(wanted, list):
        return calls(*((each["tool"], each["arguments"]) for each in wanted))
    return ToolCall("", wanted["tool"], wanted["arguments"])


@define
class Hosted:
    """An app that runs, and calls over its whole path: model, policy, tool, journal."""

    app: App
    notices: Notices
    token: trio.lowlevel.TrioToken = field(factory=trio.lowlevel.current_trio_token)

    async def call_async(self, session: str, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """One call, as the journal has it."""
        return (await self.ask_async(session, {"tool": tool, "arguments": dict(arguments)}))[-1]

    async def ask_async(self, session: str, order: object) -> Sequence[ToolResult]:
        """What the model is told; all results that the session then has."""
        await self.app.ask(json.dumps(order), session=session)
        records = await self.app.sessions.records(session)
        return [record.event.result for record in records if isinstance(record.event, ToolReturned)]

    def call(self, session: str, tool: str, **arguments: Any) -> ToolResult:
        """The same for a thread that is not trio's."""
        return self.run(lambda: self.call_async(session, tool, arguments))

    def run(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do this in the app's thread."""
        return trio.from_thread.run(act, trio_token=self.token)


@contextmanager
def hosted(config: Config, *, plain: Sequence[Any] = ()) -> Iterator[Hosted]:
    """Open the app in a thread, and close it at the end. `plain`: tools of the host's own."""
    ready, done, found, notices = threading.Event(), trio.Event(), list[Hosted](), Notices()
    failed: list[BaseException] = []

    async def main() -> None:
        providers = [ScriptedProvider([obey], repeat=True)]
        async with fairlead.open(config, providers=providers, observers=[notices], tools=plain) as app:
            found.append(Hosted(app, notices))
            ready.set()
            await done.wait()

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as error:  # noqa: BLE001  # it is raised again where the app is wanted
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="app")
    thread.start()
    ready.wait()
    try:
        if failed:
            raise failed[0]
        yield found[0]
    finally:
        if found:
            found[0].token.run_sync_soon(done.set)
        thread.join()
    if failed:
        raise failed[0]
