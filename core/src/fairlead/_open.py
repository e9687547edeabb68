"""Opening an app: the workers are opened, the parts of the path tied together, and everything closed again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from fairlead._app import App
from fairlead._compaction import Compactor
from fairlead._config import Config, ModelRef
from fairlead._contracts import Channel, Memory, Observer, Policy, Provider, Tool
from fairlead._desk import Desk
from fairlead._function import FunctionTool
from fairlead._health_log import HealthLog
from fairlead._isolation import find_isolator
from fairlead._journal import VolatileMemory
from fairlead._lanes import Lanes
from fairlead._leaf import said
from fairlead._models import ModelResolver
from fairlead._modes import Modes
from fairlead._observers import Observers
from fairlead._outage import Outage
from fairlead._outbox import Outbox
from fairlead._plugins import PluginReport
from fairlead._policy import PolicyEngine
from fairlead._router import Router
from fairlead._session import Sessions
from fairlead._tools import ToolRegistry
from fairlead._turn import Engine
from fairlead._watch import Watch
from fairlead._workers import Crew, Hands, hire
from fairlead.errors import ConfigError, FairleadError, PluginLoadError

if TYPE_CHECKING:
    from fairlead._contracts import Worker

__all__ = ["open_app"]


@asynccontextmanager
async def open_app(  # all by keyword: the five kinds, observers and the clock
    config: Config | str | Path | None = None,
    *,
    channels: Sequence[Channel] = (),
    tools: Sequence[Tool | Callable[..., Any]] = (),
    providers: Sequence[Provider] = (),
    memories: Sequence[Memory] = (),
    policies: Sequence[Policy] = (),
    observers: Sequence[Observer] = (),
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[App]:
    """Open an app: ``async with fairlead.open(...) as app``.

    `config`: a `Config`, the path of a ``fairlead.toml``, or None for nothing but what is handed in here. Workers that
    are handed in are the host's own: they come before the configured ones, and its tools (functions or `Tool` objects)
    are allowed where no policy denies. `clock` gives Unix seconds.

    `ConfigError`; `JournalUnavailable` where a memory is configured and none offers a journal; whatever the `open` of a
    worker raises that was handed in. Plugins that fail are in `App.reports`.
    """
    _require_trio()
    config = _configuration(config)
    own_tools = [tool if isinstance(tool, Tool) else FunctionTool(tool) for tool in tools]
    hands = Hands(channels, own_tools, providers, memories, policies, observers)
    watchers = Observers(clock)
    crew = Crew()
    failure: BaseException | None = None
    async with trio.open_nursery() as isolated:
        try:
            isolate = partial(find_isolator, config, isolated, watchers.raise_notice)
            await hire(crew, config, hands, VolatileMemory(clock), isolate)
            engine = _engine(config, crew, watchers, clock, own_tools)
            await engine.models.log.load()
            async with _running(config, crew, engine, watchers) as app:
                yield app
        except BaseException as error:  # noqa: BLE001  # raised again below, where no nursery wraps it
            failure = error
        finally:
            await crew.dismiss()
            isolated.cancel_scope.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def _running(config: Config, crew: Crew, engine: Engine, watchers: Observers) -> AsyncIterator[App]:
    """The app, with its turns and observers. Turns are cancelled at the end; the workers are still open then."""
    failure: BaseException | None = None
    # Before the nurseries, which would put its error into a group.
    router = Router(config.bindings, next(iter(engine.agents)), file=config.file)
    lanes = Lanes(config.lanes)
    async with trio.open_nursery() as background, watchers.ending(background), trio.open_nursery() as turns:
        outage = Outage(crew.journal, crew.channels, watchers, turns)
        desk = Desk(
            engine,
            journal=crew.journal,
            sessions=Sessions(outage.journal, watchers.publish if crew.observers else None),
            lanes=lanes,
            modes=Modes(router, engine.agents, config.limits, engine.clock, watchers.raise_notice),
            router=router,
            outbox=Outbox(crew.channels, engine.clock, watchers.raise_notice),
            observers=watchers,
            outage=outage,
            turns=turns,
        )
        watch = Watch(lanes, desk.sessions, config.limits, watchers.raise_notice)
        turns.start_soon(watch.run)  # not beside the observers, who may end in their own time
        for observer in crew.observers:
            background.start_soon(watchers.run, observer, watchers.subscribe(observer))
        watchers.begin()
        for report in crew.reports:
            if report.error is not None:
                watchers.raise_notice(report.plugin, _told(report.error), level="error")
        for memory in crew.memories:
            for text in memory.warnings:
                watchers.raise_notice(f"memories/{memory.name}", text)
        try:
            yield App(config, crew, desk, watchers)
        except BaseException as error:  # noqa: BLE001  # as above
            failure = error
        desk.stopping = desk.closed = True  # what is cut off now is left for the next process
        turns.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _told(error: FairleadError) -> str:
    return f"{error.problem} (next: {error.next_step})" if error.next_step else error.problem


def _require_trio() -> None:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        raise RuntimeError(
            "fairlead runs on trio, and no trio event loop runs here: call it from trio.run(main), or take "
            "fairlead.embed: `async with start_async(...)` on asyncio, `with start(...)` in a thread"
        ) from None


def _configuration(config: Config | str | Path | None) -> Config:
    if config is None:
        return Config()
    if isinstance(config, Config):
        return config
    from fairlead._config_file import load  # noqa: PLC0415  # a host that builds its configuration needs no TOML

    return load(config)


def _engine(
    config: Config, crew: Crew, watchers: Observers, clock: Callable[[], float], own_tools: Sequence[Worker]
) -> Engine:
    limits = config.limits
    registry = ToolRegistry(
        result_chars=limits.result_chars,
        seconds=limits.tool_seconds,
        notice=watchers.raise_notice,
        fallback="process" if config.isolation.get("fallback") == "process" else None,
    )
    granted: set[str] = set()
    for worker in crew.tools:
        try:
            names = registry.add(worker)
        except Exception as error:
            if worker in own_tools:
                raise
            plugin = f"tools/{worker.name}"
            fault = PluginLoadError(f"its tools cannot be read: {said(error)}", plugin=plugin)
            crew.reports.append(
                PluginReport(plugin, "failed", error=error if isinstance(error, PluginLoadError) else fault)
            )
            continue
        if worker in own_tools:
            granted.update(names)
    agents = {agent.name: agent for agent in config.agents}
    if not agents:
        raise ConfigError("expected at least one agent, found none", path="agents", file=config.file)
    settings = {table.name: table.options for table in config.plugins if table.kind == "providers"}
    log = HealthLog(crew.journal, settings, clock, watchers.publish, watchers.raise_notice)
    default = ModelRef(next(iter(crew.providers)), "") if crew.providers else None
    models = ModelResolver(crew.providers, config.models, log, default=default)
    return Engine(
        models=models,
        tools=registry,
        policy=PolicyEngine(
            crew.policies, granted=frozenset(granted), seconds=limits.review_seconds, notice=watchers.raise_notice
        ),
        limits=limits,
        agents=agents,
        clock=clock,
        notice=watchers.raise_notice,
        compactor=Compactor(config.compaction, models, watchers.raise_notice, clock),
        recall=crew.recall,
        max_events=config.sessions.max_events,
    )
