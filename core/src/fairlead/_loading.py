"""From a configuration to workers: choose by metadata, check options, import, register, call the hooks.

All that can be known without running a plugin is checked for all tables first. Then each is imported by itself, so
that one that fails is a report and the rest goes on. This is the one module that knows stevedore and pluggy's manager.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pluggy
from attrs import evolve, frozen

from fairlead import hookspecs
from fairlead._config import Config, Kind, PluginConfig
from fairlead._config_faults import Fault, Source, nearest, schema_faults
from fairlead._contracts import Channel, Memory, Observer, Policy, Provider, Tool, Worker
from fairlead._defaults import TRUSTED
from fairlead._discovery import Candidate, Entries, entries, examine, normal
from fairlead._plugins import Manifest, PluginReport
from fairlead._schemas import build_validator
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
_LEVELS: Mapping[Kind, Isolation] = {
    "channels": "process",
    "tools": "container",
    "providers": "process",
    "memories": "process",
    "policies": "process",
}
"""Where a plugin belongs that nobody has called trusted."""
_SHOWN = 500
"""Characters of a problem that repeats what a plugin said."""


@frozen
class Loaded:
    """What the configuration's plugins gave: made, named, not yet opened."""

    workers: Mapping[Kind, tuple[tuple[PluginConfig, Worker], ...]]
    """All five kinds; in the order of the configuration."""
    observers: tuple[tuple[PluginConfig, Observer], ...]
    reports: tuple[PluginReport, ...]
    """One for each table, in the order of the configuration."""


def load(config: Config) -> Loaded:
    """Import the enabled plugins and let them make their workers.

    `ConfigError`: options of installed plugins do not match their manifests, or production has a secret in plain text;
    nothing was imported. Whatever else is wrong with a plugin is in its report.
    """
    found: Entries = entries() if config.plugins else {}
    plans = [_plan(table, config, found) for table in config.plugins]
    if faults := [fault for plan in plans for fault in plan.faults]:
        raise Source.reread(config.file, config.profile).error(faults, "fairlead doctor")
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    workers: dict[Kind, tuple[tuple[PluginConfig, Worker], ...]] = dict.fromkeys(_LEVELS, ())
    observers: list[tuple[PluginConfig, Any]] = []
    reports = []
    for plan in plans:
        report = plan.report()
        if plan.candidate is not None:
            try:
                made, watching = _start(plan, plan.candidate, manager)
            except PluginError as error:
                report = plan.report(error)
            else:
                workers[plan.table.kind] += tuple((plan.table, worker) for worker in made)
                observers += [(plan.table, observer) for observer in watching]
                report = plan.report(workers=[worker.name for worker in (*made, *watching)])
        reports.append(report)
    return Loaded(workers, tuple(observers), tuple(reports))


# -- what metadata tells


@frozen
class _Plan:
    """What shall happen with one table."""

    table: PluginConfig
    settings: Settings
    label: str = ""
    """Distribution and version."""
    candidate: Candidate | None = None
    """Set where it shall be imported."""
    error: FairleadError | None = None
    faults: Sequence[Fault] = ()
    """What is wrong in the options."""

    @property
    def subject(self) -> str:
        return f"{self.table.kind}/{self.table.name}"

    def report(self, error: FairleadError | None = None, workers: Sequence[str] = ()) -> PluginReport:
        error = error or self.error
        status: Any = "failed" if error is not None else "ready" if self.candidate is not None else "skipped"
        if isinstance(error, PluginError):
            error.plugin = self.subject
        return PluginReport(
            self.subject, status, getattr(error, "distribution", "") or self.label, tuple(workers), error
        )

    def secrets(self) -> list[str]:
        return [leaf.reveal() for leaf in _leaves(self.settings.options) if isinstance(leaf, Secret)]

    def broken(self, problem: str, next_step: str = "") -> PluginLoadError:
        """An error of the plugin's own making; secrets that its text repeats are taken out."""
        for secret in self.secrets():
            problem = problem.replace(secret, "(not shown)")
        problem = problem if len(problem) <= _SHOWN else problem[:_SHOWN] + "..."
        off = f"write enabled = false in [{self.table.kind}.{self.table.name}]"
        return PluginLoadError(
            f"{self.subject} ({self.label}): {problem}",
            next_step=next_step or f"tell its authors, and until then {off}",
            plugin=self.subject,
            distribution=self.label,
        )


def _plan(table: PluginConfig, config: Config, found: Entries) -> _Plan:
    bare = _Plan(table, Settings(table.name, data_dir=config.data_dir, profile=config.profile))
    claims = examine(table.kind, table.entry_point, found.get((table.kind, table.entry_point), ()))
    if not claims:
        return bare if table.optional else evolve(bare, error=_not_found(table, found))
    candidate = claims[0]
    plan = evolve(bare, label=candidate.label)
    try:
        if candidate.error is not None:
            raise candidate.error
        _check_place(table, candidate)
        faults = _option_faults(plan, candidate.plugin.manifest)
    except FairleadError as error:
        return evolve(plan, error=error)
    secrets = candidate.plugin.manifest.secrets if candidate.plugin.manifest is not None else ()
    options = {key: _each(value, _as_secret if key in secrets else _revealed) for key, value in table.options.items()}
    return evolve(plan, candidate=candidate, settings=evolve(plan.settings, options=options), faults=faults)


def _not_found(table: PluginConfig, found: Entries) -> PluginNotFound:
    name = table.entry_point
    other = next((kind for kind, known in found if known == name), None)
    if other is not None:
        problem, next_step = f"{name!r} is installed among the {other}", f"write [{other}.{table.name}]"
    else:
        problem = (
            f"no plugin {name!r} is installed{nearest(name, sorted(n for kind, n in found if kind == table.kind))}"
        )
        next_step = f"pip install {TRUSTED[name]}" if name in TRUSTED else "fairlead plugins list"
    subject = f"{table.kind}/{table.name}"
    return PluginNotFound(f"{subject}: {problem}", next_step=next_step, plugin=subject)


def _check_place(table: PluginConfig, candidate: Candidate) -> None:
    """Only the host is offered here: for our own plugins, and for those that the configuration puts there."""
    ours = TRUSTED.get(table.entry_point) == normal(candidate.plugin.distribution)
    if table.isolation == "host" or (ours and table.isolation is None):
        return
    manifest = candidate.plugin.manifest
    wanted = table.isolation or (manifest.isolation if manifest is not None else None)
    floor = wanted if wanted is not None and wanted != "host" else _LEVELS[table.kind]
    raise IsolationUnavailable(
        f"{table.kind}/{table.name} ({candidate.label}) shall run isolated (level {floor!r}), which this installation "
        "cannot do yet: it is the work of the package fairlead-sandbox. Its code was not imported",
        next_step=f'if you trust it with all that this process can do, write isolation = "host" in '
        f"[{table.kind}.{table.name}]",
        floor=floor,
    )


# -- options


class _Hidden(str):
    """A text that validators read as it is and never show: their messages have the ``repr`` of what they found."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "(a value that is not shown)"


def _each(value: Any, leaf: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _each(child, leaf) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_each(child, leaf) for child in value]
    return leaf(value)


def _as_secret(value: Any) -> Any:
    return Secret(value, "the configuration") if isinstance(value, str) else value


def _revealed(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else value


def _hidden(value: Any) -> Any:
    return _Hidden(_revealed(value)) if isinstance(value, Secret | str) else value


def _hidden_secret(value: Any) -> Any:
    return _hidden(value) if isinstance(value, Secret) else value


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping | list | tuple):
        for child in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(child)
    else:
        yield value


def _option_faults(plan: _Plan, manifest: Manifest | None) -> list[Fault]:
    """What the manifest does not allow. A plugin without a manifest takes everything as it is."""
    if manifest is None:
        return []
    table = plan.table
    schema = manifest.settings or {"type": "object", "additionalProperties": False}
    try:
        validator = build_validator(schema)
    except SchemaError as error:
        raise plan.broken(f"the settings of its manifest are {error.problem} at /{error.path}") from error
    shown = {
        key: _each(value, _hidden if key in manifest.secrets else _hidden_secret)
        for key, value in table.options.items()
    }
    faults = schema_faults(validator, shown, (table.kind, table.name))
    if plan.settings.profile == "production":
        problem = 'profile production refuses a secret in plain text; expected { env = "NAME" } or { file = "path" }'
        for key in manifest.secrets:
            if any(isinstance(leaf, str) for leaf in _leaves(table.options.get(key))):
                faults.append(Fault((table.kind, table.name, key), problem))
    return faults


# -- the plugin's own code


def _start(
    plan: _Plan, candidate: Candidate, manager: pluggy.PluginManager
) -> tuple[Sequence[Worker], Sequence[Worker]]:
    """Import one plugin, once for all its tables, and let it make the workers of this one. `PluginLoadError`."""
    plugin = _guarded(plan, "importing it", lambda: _import(candidate.entry_point))
    _guarded(plan, "reading its hooks", lambda: _register(plan, plugin, manager))
    made = _made(plan, plan.table.kind, plugin, manager)
    watching = _made(plan, "observers", plugin, manager)
    if made is None and watching is None:
        hook = f"fairlead_{plan.table.kind}"
        mark = f"its function {hook} has no @hookimpl" if hasattr(plugin, hook) else "found none"
        raise plan.broken(f"expected the hook {hook}; {mark}")
    return made or (), watching or ()


def _guarded(plan: _Plan, doing: str, act: Callable[[], T]) -> T:
    """Call foreign code: whatever it raises, also ``SystemExit``, is its own failure and no one else's."""
    try:
        return act()
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:  # noqa: BLE001  # a plugin that exits must not end the host
        text = " ".join(str(error).split())
        told = any(secret in text for secret in plan.secrets())
        missing = isinstance(error, ModuleNotFoundError)
        distribution = plan.candidate.plugin.distribution if plan.candidate is not None else ""
        raise plan.broken(
            f"{doing} raised {type(error).__name__}: {text}",
            f"pip install --upgrade {distribution}" if missing else "",
        ) from (None if told else error)


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
    name = f"{plan.subject} {plan.table.entry_point}"
    try:
        manager.register(plugin, name)
        for caller in manager.get_hookcallers(plugin) or ():
            if not caller.has_spec():
                _refuse_unknown(plan, plugin, caller)
    except BaseException:
        if manager.has_plugin(name):
            manager.unregister(name=name)
        raise


def _refuse_unknown(plan: _Plan, plugin: Any, caller: pluggy.HookCaller) -> None:
    for hookimpl in caller.get_hookimpls():
        if hookimpl.plugin is plugin and not hookimpl.optionalhook:
            known = nearest(caller.name, [name for name in hookspecs.__all__ if name.startswith("fairlead_")])
            function = getattr(hookimpl.function, "__name__", caller.name)
            raise plan.broken(
                f"its function {function} implements the hook {caller.name!r}, which does not exist{known}"
            )


def _made(plan: _Plan, kind: str, plugin: Any, manager: pluggy.PluginManager) -> list[Worker] | None:
    """The workers that the hook of that kind gives for this table, named; None where the plugin does not have it."""
    hook = f"fairlead_{kind}"
    if hook not in {caller.name for caller in manager.get_hookcallers(plugin) or ()}:
        return None
    others = [other for other in manager.get_plugins() if other is not plugin]
    caller = manager.subset_hook_caller(hook, others)
    results = _guarded(plan, f"{hook}()", lambda: caller(settings=plan.settings))
    made: list[Worker] = []
    for result in results or [None]:
        if not isinstance(result, list | tuple):
            if inspect.iscoroutine(result):
                result.close()
            raise plan.broken(
                f"{hook}() gave {_article(result)}, expected a list of {_CONTRACTS[kind].__name__} objects"
            )
        made += [_checked(plan, kind, worker) for worker in result]
    for position, worker in enumerate(made, 1):
        name = plan.table.name if position == 1 else f"{plan.table.name}-{position}"
        _guarded(plan, "setting the name of a worker", partial(setattr, worker, "name", name))
    return made


def _checked(plan: _Plan, kind: str, worker: Any) -> Worker:
    contract = _CONTRACTS[kind]
    if not isinstance(worker, contract):
        raise plan.broken(
            f"fairlead_{kind}() gave a list with {_article(worker)}, expected {contract.__name__} objects"
        )
    return worker


def _article(value: Any) -> str:
    return "None" if value is None else f"an object of type {type(value).__qualname__}"
