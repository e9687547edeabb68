"""The crew of an app: its workers of all kinds, opened in order and closed in reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args

import trio
from attrs import define, evolve, field

from fairlead._contracts import Channel, Journal, Memory, Observer, Policy, Provider, Recall, Tool, Worker
from fairlead._isolation import Assignment, Isolator
from fairlead._leaf import own_fault, said
from fairlead._plugins import PluginReport
from fairlead._work import Boundary, Capabilities, Review, Verdict
from fairlead.errors import FairleadError, JournalUnavailable, PluginLoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fairlead._config import Config, PluginConfig
    from fairlead._loading import Loaded

__all__ = ["Crew", "Hands", "hire"]

W = TypeVar("W", bound=Worker)
_CLOSE_SECONDS = 5.0


@define
class Hands:
    """Workers that the host application hands in itself."""

    channels: Sequence[Channel] = ()
    tools: Sequence[Tool] = ()
    providers: Sequence[Provider] = ()
    memories: Sequence[Memory] = ()
    policies: Sequence[Policy] = ()
    observers: Sequence[Observer] = ()


@define
class Crew:
    """All workers that are open."""

    channels: dict[str, Channel] = field(factory=dict)
    tools: list[Tool] = field(factory=list)
    providers: dict[str, Provider] = field(factory=dict)
    memories: list[Memory] = field(factory=list)
    policies: list[Policy] = field(factory=list)
    observers: list[Observer] = field(factory=list)
    reports: list[PluginReport] = field(factory=list)
    isolator: Isolator | None = None
    opened: list[Worker] = field(factory=list)

    @property
    def journal(self) -> Journal:
        return next(memory.journal for memory in self.memories if memory.journal is not None)

    @property
    def recall(self) -> Recall | None:
        return next((memory.recall for memory in self.memories if memory.recall is not None), None)

    async def dismiss(self) -> None:
        """Close all, last opened first, each at most 5 s; what one raises is not the others' concern."""
        while self.opened:
            worker = self.opened.pop()
            with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                try:
                    await worker.close()
                except BaseException as error:  # noqa: BLE001  # nobody is left who could act on it
                    fault = await own_fault(error)
                    problem = PluginLoadError(f"close raised {said(fault)}", plugin=worker.name)
                    self.reports.append(PluginReport(worker.name, "failed", error=problem))


async def hire(crew: Crew, config: Config, hands: Hands, volatile: Memory, isolate: Callable[[], Isolator]) -> None:
    """Load the configured plugins and open everybody: memories first, channels last. `isolate` finds an isolator.

    A plugin that fails is a report. But nothing is weakened in silence: without the journal that the configuration
    names the app does not open, and a policy that fails denies everything at the boundaries.
    """
    tables: dict[str, list[tuple[PluginConfig, Any]]] = {}
    if config.plugins:
        from fairlead._loading import load  # noqa: PLC0415  # stevedore costs 40 ms, which a host without plugins saves

        loaded = load(config)
        crew.reports.extend(loaded.reports)
        tables = await _tables(crew, loaded, isolate)
    crew.memories += await _open_all(crew, hands.memories, tables.get("memories", ()))
    _require_journal(crew, config, volatile)
    for provider in await _open_all(crew, hands.providers, tables.get("providers", ())):
        crew.providers.setdefault(provider.name, provider)
    crew.tools += await _open_all(crew, hands.tools, tables.get("tools", ()))
    crew.policies += await _open_all(crew, hands.policies, tables.get("policies", ()))
    crew.policies += _stand_ins(crew)
    crew.observers += await _open_all(crew, hands.observers, tables.get("observers", ()))
    for channel in await _open_all(crew, hands.channels, tables.get("channels", ())):
        crew.channels.setdefault(channel.name, channel)


async def _tables(
    crew: Crew, loaded: Loaded, isolate: Callable[[], Isolator]
) -> dict[str, list[tuple[PluginConfig, Any]]]:
    """The workers by kind, also those that an isolator makes for the plugins that shall not run here."""
    assigned = [made for table in loaded.workers.values() for _, made in table if isinstance(made, Assignment)]
    placed = await _placed(crew, assigned, isolate) if assigned else {}
    tables: dict[str, list[tuple[PluginConfig, Any]]] = {"observers": [*loaded.observers]}
    for kind, table in loaded.workers.items():
        for entry, made in table:
            found = placed.get(id(made), {}) if isinstance(made, Assignment) else {kind: (made,)}
            for each, workers in found.items():
                tables.setdefault(each, []).extend((entry, worker) for worker in workers)
    return tables


async def _placed(
    crew: Crew, assigned: Sequence[Assignment], isolate: Callable[[], Isolator]
) -> dict[int, Mapping[str, Sequence[Worker]]]:
    """What the isolator made of each assignment, by its identity; a failure is in the plugin's report."""
    placed: dict[int, Mapping[str, Sequence[Worker]]] = {}

    async def place(assignment: Assignment) -> None:
        try:
            placed[id(assignment)] = await isolator.place(assignment)
        except BaseException as error:  # noqa: BLE001  # one plugin's fault is a report
            _report_failure(crew, assignment.table, await own_fault(error))

    try:
        isolator = isolate()
        await isolator.open()
    except BaseException as error:  # noqa: BLE001  # then none of them runs, and the rest goes on
        fault = await own_fault(error)
        for assignment in assigned:
            _report_failure(crew, assignment.table, fault)
        return placed
    crew.isolator = isolator
    crew.opened.append(isolator)
    async with trio.open_nursery() as nursery:
        for assignment in assigned:
            nursery.start_soon(place, assignment)
    return placed


async def _open_all(crew: Crew, own: Sequence[W], table: Sequence[tuple[PluginConfig, Any]]) -> list[W]:
    opened: list[W] = []
    for worker in own:
        if not worker.name:
            worker.name = type(worker).__name__.lower()
        if isinstance(worker, Provider | Channel) and worker.name in [other.name for other in opened]:
            raise ValueError(f"two workers of one kind are named {worker.name!r}: give one of them another name")
        await worker.open()
        crew.opened.append(worker)
        opened.append(worker)
    for entry, made in table:
        try:
            await made.open()
            crew.opened.append(made)
            _check_declared(made)
        except BaseException as error:  # noqa: BLE001  # one plugin's fault is a report
            _report_failure(crew, entry, await own_fault(error))
            continue
        opened.append(made)
    return opened


def _check_declared(worker: Worker) -> None:
    """`TypeError`: what the core must know of it before the first message is missing."""
    if isinstance(worker, Channel) and not isinstance(getattr(worker, "capabilities", None), Capabilities):
        raise TypeError("expected `capabilities` after open(), found none")
    if isinstance(worker, Policy) and not isinstance(getattr(worker, "boundaries", None), frozenset | set):
        raise TypeError("expected `boundaries` after open(), found none")
    if isinstance(worker, Provider):
        names: Any = worker.credentials
        if not (isinstance(names, tuple) and names and all(isinstance(name, str) for name in names)):
            raise TypeError(f"expected names as `credentials` after open(), found {names!r:.200}")


def _report_failure(crew: Crew, entry: PluginConfig, error: BaseException) -> None:
    plugin = f"{entry.kind}/{entry.name}"
    step = f"fairlead plugins show {entry.entry_point}"
    raised = PluginLoadError(f"open raised {said(error)}", plugin=plugin, next_step=step)
    problem = error if isinstance(error, FairleadError) else raised
    for place, report in enumerate(crew.reports):
        if report.plugin == plugin:
            crew.reports[place] = evolve(report, status="failed", error=problem)
            return
    crew.reports.append(PluginReport(plugin, "failed", error=problem))


def _require_journal(crew: Crew, config: Config, volatile: Memory) -> None:
    if any(memory.journal is not None for memory in crew.memories):
        return
    wanted = [entry.name for entry in config.plugins if entry.kind == "memories" and not entry.optional]
    failed = [report for report in crew.reports if report.plugin.startswith("memories/") and report.error is not None]
    if wanted or failed:
        why = "; ".join(report.error.problem for report in failed if report.error) or "none of them offers one"
        raise JournalUnavailable(
            f"the configuration names memories, but there is no journal: {why}", next_step="fairlead doctor"
        )
    crew.memories.append(volatile)


class _StandIn(Policy):
    """Stands where a configured policy could not be loaded: nothing passes that it might have denied."""

    immediate = True
    names_itself = True
    boundaries: frozenset[Boundary] = frozenset(get_args(Boundary))

    def __init__(self, name: str) -> None:
        self.name = name
        self._denial = Verdict(
            "deny",
            "default: a policy is missing",
            reason=f"the policy {name!r} could not be loaded, so nothing is allowed; see: fairlead doctor",
            policy=name,
        )

    async def review(self, review: Review) -> Sequence[Verdict]:  # the same for all
        return (self._denial,)


def _stand_ins(crew: Crew) -> list[Policy]:
    return [
        _StandIn(report.plugin.partition("/")[2])
        for report in crew.reports
        if report.status == "failed" and report.plugin.startswith("policies/")
    ]
