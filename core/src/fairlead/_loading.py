"""From a configuration to workers: choose by metadata, check options, import, register, call the hooks.

All that can be known without running a plugin is checked for all tables first. Then each is imported by itself, so
that one that fails is a report and the rest goes on. This is the one module that knows stevedore and pluggy's manager.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_args

import pluggy
from attrs import evolve, frozen

from fairlead import hookspecs
from fairlead._config import Config, Kind, PluginConfig
from fairlead._config_faults import Fault, Source, nearest, schema_faults
from fairlead._contracts import Channel, Memory, Observer, Policy, Provider, Tool, Worker
from fairlead._defaults import TRUSTED
from fairlead._discovery import Candidate, Entries, entries, examine, normal
from fairlead._isolation import Assignment, reaches
from fairlead._plugins import PluginReport
from fairlead._schemas import build_validator, outline
from fairlead._work import Isolation, Secret, Settings
from fairlead.errors import (
    FairleadError,
    IsolationUnavailable,
    PluginError,
    PluginLoadError,
    PluginNotFound,
    SchemaError,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Loaded", "load"]

T = TypeVar("T")

_CONTRACTS: Mapping[str, type[Worker]] = {
    "channels": Channel,
    "tools": Tool,
    "providers": Provider,
    "memories": Memory,
    "policies": Policy,
    "observers": Observer,
}
_LEVELS: Mapping[Kind, Isolation] = {kind: "container" if kind == "tools" else "process" for kind in get_args(Kind)}
"""Where a plugin belongs that nobody has called trusted."""
_SHOWN = 500
"""Characters of a problem that repeats what a plugin said."""


@frozen
class Loaded:
    """What the configuration's plugins gave: made, named, not yet opened."""

    workers: Mapping[Kind, tuple[tuple[PluginConfig, Worker | Assignment], ...]]
    """All five kinds; in the order of the configuration. An assignment stands for the workers of an isolated plugin."""
    observers: tuple[tuple[PluginConfig, Observer], ...]
    reports: tuple[PluginReport, ...]
    """One for each table, in the order of the configuration."""


def load(config: Config) -> Loaded:
    """Import the enabled plugins and let them make their workers.

    `ConfigError`: options of installed plugins do not match their manifests, or production has a secret in plain text;
    nothing was imported. Whatever else is wrong with a plugin is in its report.
    """
    found: Entries = entries(config.data_dir) if config.plugins else {}
    plans = [_plan(table, config, found) for table in config.plugins]
    if faults := [fault for plan in plans for fault in plan.faults]:
        raise Source.reread(config.file, config.profile).error(faults, "fairlead doctor")
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    workers: dict[Kind, tuple[tuple[PluginConfig, Worker | Assignment], ...]] = dict.fromkeys(_LEVELS, ())
    observers: list[tuple[PluginConfig, Any]] = []
    reports = []
    for plan in plans:
        if plan.error is None and plan.candidate is not None and plan.level != "host":
            assignment = Assignment(plan.table, plan.candidate.plugin, plan.settings, plan.level)
            workers[plan.table.kind] += ((plan.table, assignment),)
            reports.append(plan.report())
            continue
        try:
            made, watching = _start(plan, manager)
        except FairleadError as error:
            reports.append(plan.report(error))
        else:
            workers[plan.table.kind] += tuple((plan.table, worker) for worker in made)
            observers += [(plan.table, observer) for observer in watching]
            reports.append(plan.report(workers=[worker.name for worker in (*made, *watching)]))
    return Loaded(workers, tuple(observers), tuple(reports))


# -- what metadata tells


@frozen
class _Plan:
    """What shall happen with one table: import its candidate, report its error, or skip it."""

    table: PluginConfig
    settings: Settings
    candidate: Candidate | None = None
    level: Isolation = "host"
    error: FairleadError | None = None
    faults: Sequence[Fault] = ()
    """What is wrong in the options."""

    @property
    def subject(self) -> str:
        return f"{self.table.kind}/{self.table.name}"

    @property
    def label(self) -> str:
        return self.candidate.label if self.candidate is not None else ""

    def report(self, error: FairleadError | None = None, workers: Sequence[str] = ()) -> PluginReport:
        status: Any = "failed" if error is not None else "ready" if self.candidate is not None else "skipped"
        label = self.label
        if isinstance(error, PluginError):
            error.plugin, label = self.subject, error.distribution or label
        return PluginReport(self.subject, status, label, tuple(workers), error)

    def secrets(self) -> list[str]:
        return [leaf.reveal() for leaf in _leaves(self.settings.options) if isinstance(leaf, Secret)]

    def broken(self, problem: str, next_step: str = "") -> PluginLoadError:
        """An error of the plugin's own making; secrets that its text repeats are taken out."""
        for secret in self.secrets():
            problem = problem.replace(secret, "(not shown)")
        problem = problem if len(problem) <= _SHOWN else problem[:_SHOWN] + "..."
        off = f"tell its authors, and until then write enabled = false in [{self.table.kind}.{self.table.name}]"
        return PluginLoadError(
            f"{self.subject} ({self.label}): {problem}", next_step=next_step or off, distribution=self.label
        )


def _plan(table: PluginConfig, config: Config, found: Entries) -> _Plan:
    plan = _Plan(table, Settings(table.name, data_dir=config.data_dir, profile=config.profile))
    claims = examine(table.kind, table.entry_point, found.get((table.kind, table.entry_point), ()))
    if not claims:
        return plan if table.optional else evolve(plan, error=_not_found(table, found))
    level = _level(table, claims[0])
    error = claims[0].error or (_misplaced(table, claims[0]) if level == "host" else None)
    plan = evolve(plan, candidate=claims[0], level=level, error=error)
    return plan if plan.error is not None else _with_options(plan)


def _not_found(table: PluginConfig, found: Entries) -> PluginNotFound:
    name = table.entry_point
    problem = f"no plugin {name!r} is installed"
    next_step = f"pip install {TRUSTED[name]}" if name in TRUSTED else "fairlead plugins list"
    if (other := next((kind for kind, known in found if known == name), None)) is not None:
        problem, next_step = f"{name!r} is installed among the {other}", f"write [{other}.{table.name}]"
    else:
        problem += nearest(name, sorted(known for kind, known in found if kind == table.kind))
    return PluginNotFound(f"{table.kind}/{table.name}: {problem}", next_step=next_step)


def _is_ours(candidate: Candidate) -> bool:
    """Whether it is a plugin of Fairlead's own."""
    plugin = candidate.plugin
    return TRUSTED.get(plugin.name) == normal(plugin.distribution) and not plugin.site


def _level(table: PluginConfig, candidate: Candidate) -> Isolation:
    """Where a plugin runs: where its table says; else ours where they say, and others where their kind belongs."""
    if table.isolation is not None:
        return table.isolation
    manifest = candidate.plugin.manifest
    floor: Isolation = manifest.isolation or "host" if manifest is not None else "host"
    if _is_ours(candidate):
        return floor
    default = _LEVELS[table.kind]
    return floor if reaches(floor, default) else default


def _misplaced(table: PluginConfig, candidate: Candidate) -> IsolationUnavailable | None:
    """What cannot run in the host, whoever trusts it."""
    manifest = candidate.plugin.manifest
    if manifest is not None and manifest.runtime == "asyncio":
        why = "is written for asyncio, and the host runs trio alone"
    elif candidate.plugin.site:
        why = "is installed in an environment of its own, which the host does not import from"
    else:
        return None
    return IsolationUnavailable(
        f"{table.kind}/{table.name} ({candidate.label}) {why}. Its code was not imported",
        next_step=f'take isolation = "host" out of [{table.kind}.{table.name}]',
        floor=_LEVELS[table.kind],
    )


# -- options


class _Hidden(str):
    """A text that validators read as it is and never show: their messages have the ``repr`` of what they found."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "(a value that is not shown)"


def _option(value: Any, *, is_secret: bool, is_hidden: bool) -> Any:
    """A value as the plugin gets it (a secret as `Secret`, any other as it is), or as a validator may see it."""
    if isinstance(value, Mapping):
        return {key: _option(each, is_secret=is_secret, is_hidden=is_hidden) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_option(each, is_secret=is_secret, is_hidden=is_hidden) for each in value]
    if is_secret and isinstance(value, str):
        value = Secret(value, "the configuration")
    if not isinstance(value, Secret) or (is_secret and not is_hidden):
        return value
    return _Hidden(value.reveal()) if is_hidden else value.reveal()


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping | list | tuple):
        for child in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(child)
    else:
        yield value


def _with_options(plan: _Plan) -> _Plan:
    """The plan with its settings. A plugin without a manifest takes everything as it is."""
    table = plan.table
    manifest = plan.candidate.plugin.manifest if plan.candidate is not None else None
    secrets = manifest.secrets if manifest is not None else ()
    options, shown = (
        {key: _option(value, is_secret=key in secrets, is_hidden=hidden) for key, value in table.options.items()}
        for hidden in (False, True)
    )
    plan = evolve(plan, settings=evolve(plan.settings, options=options))
    if manifest is None:
        return plan
    schema = manifest.settings or {"type": "object", "additionalProperties": False}
    # What a stranger wrote must not keep this process busy.
    if plan.level != "host" and plan.candidate is not None and not _is_ours(plan.candidate):
        schema = outline(schema)
    try:
        faults = schema_faults(build_validator(schema), shown, (table.kind, table.name))
    except SchemaError as error:
        return evolve(plan, error=plan.broken(f"the settings of its manifest: {error.problem} (/{error.path})"))
    if plan.settings.profile == "production":
        problem = 'profile production refuses a secret in plain text; expected { env = "NAME" } or { file = "path" }'
        plain = [key for key in secrets if any(isinstance(leaf, str) for leaf in _leaves(table.options.get(key)))]
        faults += [Fault((table.kind, table.name, key), problem) for key in plain]
    return evolve(plan, faults=faults)


# -- the plugin's own code


def _start(plan: _Plan, manager: pluggy.PluginManager) -> tuple[Sequence[Worker], Sequence[Worker]]:
    """Import one plugin, once for all its tables, and let it make the workers and observers of this one."""
    if plan.error is not None:
        raise plan.error
    if plan.candidate is None:
        return (), ()
    plugin = _guarded(plan, "importing it", partial(_import, plan.candidate.entry_point))
    _guarded(plan, "reading its hooks", partial(_register, plan, plugin, manager))
    made, watching = (_made(plan, kind, plugin, manager) for kind in (plan.table.kind, "observers"))
    if made is None and watching is None:
        hook = f"fairlead_{plan.table.kind}"
        found = f"its function {hook} has no @hookimpl" if hasattr(plugin, hook) else "found none"
        raise plan.broken(f"expected the hook {hook}; {found}")
    return made or (), watching or ()


def _guarded(plan: _Plan, doing: str, act: Callable[[], T]) -> T:
    """Call foreign code: whatever it raises, also ``SystemExit``, is its own failure and no one else's."""
    try:
        return act()
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:  # noqa: BLE001  # a plugin that exits must not end the host
        ours = error if isinstance(error, FairleadError) else None
        text = " ".join((ours.problem if ours else str(error)).split())
        told = any(secret in text for secret in plan.secrets())
        mend = ours.next_step if ours else ""
        if isinstance(error, ModuleNotFoundError):
            mend = f"pip install --upgrade {plan.label.split()[0]}"
        raise plan.broken(f"{doing} raised {type(error).__name__}: {text}", mend) from (None if told else error)


def _import(entry_point: EntryPoint) -> Any:
    """The plugin, through stevedore, which is given the one entry point that discovery has chosen.

    By itself stevedore would list all that is installed from a cache on disk, forget the distributions, let the last
    of two of one name win, and end at the first assertion that fails.
    """
    from stevedore.named import NamedExtensionManager  # noqa: PLC0415  # 40 ms that an app without plugins need not pay

    class Chosen(NamedExtensionManager[Any]):
        def list_entry_points(self) -> list[EntryPoint]:
            return [entry_point]

    def fail(_manager: object, _entry_point: object, error: BaseException) -> NoReturn:
        raise error

    manager = Chosen(entry_point.group, [entry_point.name], name_order=True, on_load_failure_callback=fail)
    return manager[entry_point.name].plugin


def _register(plan: _Plan, plugin: Any, manager: pluggy.PluginManager) -> None:
    if inspect.isclass(plugin):
        raise plan.broken(f"found the class {plugin.__name__}, expected a module or an object with hooks")
    hash(plugin)  # pluggy keeps plugins in sets; better that this one fails than the next
    if any(plugin is other for other in manager.get_plugins()):
        return
    try:
        manager.register(plugin, plan.subject)
        _refuse_unknown(plan, plugin, manager)
    except BaseException:
        if manager.has_plugin(plan.subject):
            manager.unregister(name=plan.subject)
        raise


def _refuse_unknown(plan: _Plan, plugin: Any, manager: pluggy.PluginManager) -> None:
    for caller in manager.get_hookcallers(plugin) or ():
        mine = (each for each in caller.get_hookimpls() if each.plugin is plugin and not each.optionalhook)
        if not caller.has_spec() and (impl := next(mine, None)) is not None:
            known = nearest(caller.name, [f"fairlead_{kind}" for kind in _CONTRACTS])
            function = impl.function.__name__
            problem = f"its function {function} implements the hook {caller.name!r}, which does not exist{known}"
            raise plan.broken(problem)


def _made(plan: _Plan, kind: str, plugin: Any, manager: pluggy.PluginManager) -> list[Worker] | None:
    """The workers that the hook of that kind gives for this table, named; None where the plugin does not have it."""
    hook, contract = f"fairlead_{kind}", _CONTRACTS[kind]
    if hook not in {caller.name for caller in manager.get_hookcallers(plugin) or ()}:
        return None
    caller = manager.subset_hook_caller(hook, [other for other in manager.get_plugins() if other is not plugin])
    made: list[Worker] = []
    for result in _guarded(plan, f"{hook}()", lambda: caller(settings=plan.settings)) or [None]:
        if inspect.iscoroutine(result):
            result.close()
        listed = result if isinstance(result, list | tuple) else [result]
        stranger = next((type(each) for each in listed if not isinstance(each, contract)), None)
        if stranger is not None or listed is not result:
            found = (stranger or type(result)).__qualname__
            problem = f"{hook}() gave an object of type {found}, expected a list of {contract.__name__} objects"
            raise plan.broken(problem)
        made += result
    for position, worker in enumerate(made, 1):
        name = plan.table.name if position == 1 else f"{plan.table.name}-{position}"
        _guarded(plan, "setting the name of a worker", partial(setattr, worker, "name", name))
        # Whatever it says of itself: what it calls evidence is none.
        _guarded(plan, "setting the level of a worker", partial(setattr, worker, "level", "host"))
        _guarded(plan, "setting the origin of a worker", partial(setattr, worker, "distribution", plan.label))
    return made
