"""The tools of an app: their registry, the check of arguments, and one call with its limits."""

from __future__ import annotations

import inspect
import json
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, get_type_hints

import trio
from attrs import asdict, define, evolve, has

from fairlead import _schemas
from fairlead._codec import check_structure, structure
from fairlead._contracts import Recall, Tool, ToolContext
from fairlead._isolation import reaches
from fairlead._leaf import own_fault, said
from fairlead._message import HOST, TOOL_NAME, Data, Origin, Part, Text, ToolCall, ToolResult, sound, stamp
from fairlead._types import context_parameter, spec_of
from fairlead.errors import PluginLoadError, SchemaError, ToolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fairlead._config import Agent
    from fairlead._message import Principal
    from fairlead._work import Effect, Isolation, Note, ToolSpec

__all__ = ["CallContext", "FunctionTool", "ToolEntry", "ToolRegistry", "result_of", "tool"]

_SLOW = 0.02
"""Seconds: a plain function that once took longer runs in a thread from then on, so that it stalls nobody else."""


class FunctionTool(Tool):
    """A Python function as a tool. A coroutine function is awaited; a plain one runs in place while it is quick."""

    def __init__(self, function: Callable[..., Any], **said: Any) -> None:
        """`said`: fields of the spec that the signature and the docstring do not say."""
        self._function = function
        self._spec = evolve(spec_of(function), **said)
        self.name = self._spec.name
        self._context = context_parameter(function)
        self._hints = _structured_hints(function, self._context)
        self._slow = False
        self.immediate = not inspect.iscoroutinefunction(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself, for whoever calls it without a model."""
        return self._function(*args, **kwargs)

    def specs(self) -> Sequence[ToolSpec]:
        return (self._spec,)

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult | str:
        arguments = call.arguments
        if self._hints:
            try:
                arguments = {k: self._structured(k, v) for k, v in arguments.items()}
            except SchemaError as error:  # the schema cannot say all that a class checks
                raise ToolError(f"The arguments were refused: {error.problem}") from error
        if self._context:
            arguments = {**arguments, self._context: context}
        if self._slow:
            # A thread that does not come back in time is left behind, and the call's outcome unknown.
            value = await trio.to_thread.run_sync(lambda: self._function(**arguments), abandon_on_cancel=True)
        else:
            started = time.perf_counter()
            value = self._function(**arguments)
            if time.perf_counter() - started > _SLOW:
                self._slow, self.immediate = True, False
        return _as_text(await self._awaited(value) if inspect.isawaitable(value) else value)

    def _structured(self, name: str, value: Any) -> Any:
        hint = self._hints.get(name)
        return value if hint is None or type(value) is hint else structure(value, hint)

    async def _awaited(self, value: Awaitable[Any]) -> Any:
        """A decorator may hide that a function waits: this first time nobody else keeps the clock."""
        if not self.immediate:
            return await value
        self.immediate = False
        with trio.fail_after(self._spec.timeout or _UNASKED):
            return await value


_UNASKED = 60.0
"""Seconds, where the spec says none."""


def tool(
    *, name: str | None = None, effect: Effect = "once", timeout: float | None = None, parallel: bool = True
) -> Callable[[Callable[..., Any]], FunctionTool]:
    """Say of a function what its signature cannot: ``@fairlead.tool(effect="read")``.

    A function that is handed to `fairlead.open` as it is counts as ``once``: after a crash nobody repeats it. `effect`:
    ``read`` changes nothing, ``idempotent`` may run again with the same arguments. `name`: the function's own where
    None. `timeout`: seconds. `parallel`: may run beside other calls of the same answer. It can be called as before.
    """
    said = {"effect": effect, "timeout": timeout, "parallel": parallel} | ({"name": name} if name is not None else {})
    return lambda function: FunctionTool(function, **said)


def _structured_hints(function: Callable[..., Any], context: str) -> dict[str, Any]:
    """The parameters whose JSON value is not yet their Python value. `TypeError`: no JSON value could become it."""
    found = {
        name: hint
        for name, hint in get_type_hints(function).items()
        if name not in ("return", context) and hint not in _PLAIN
    }
    for hint in found.values():
        check_structure(hint)
    return found


_PLAIN = (str, float, bool, list, dict, Any)
"""What JSON gives as it is. Not an int: 3.0 is an integer for JSON Schema."""


def _as_text(value: Any) -> str:
    if value is None:
        return "done"
    if not isinstance(value, int | float | dict | list | tuple):
        value = _as_json(value)
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=_as_json)
    except (TypeError, ValueError):  # keys that are no text, or a value that contains itself
        return str(value)


def _as_json(value: Any) -> Any:
    """Every field of a class, also one that has its default: the model knows no defaults."""
    if has(type(value)):
        return asdict(value, recurse=False)
    if isinstance(value, set | frozenset):
        return list(value)
    return value.value if isinstance(value, Enum) else str(value)


@define
class ToolEntry:
    """A tool that the app has."""

    spec: ToolSpec
    worker: Tool
    validator: Any
    origin: Origin


class ScopedRecall(Recall):
    """Recall for one scope, whatever the tool says."""

    def __init__(self, recall: Recall, scope: str) -> None:
        self._recall = recall
        self._scope = scope

    async def add(self, note: Note) -> Note:
        return await self._recall.add(evolve(note, scope=self._scope))

    # The scope is not the tool's to choose.
    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:
        return await self._recall.search(self._scope, query, limit)

    async def erase(self, scope: str, note: str | None = None) -> int:  # as above
        return await self._recall.erase(self._scope, note)


class CallContext(ToolContext):
    """What one call may know and do."""

    def __init__(
        self,
        session: str,
        principal: Principal | None,
        recall: Recall | None,
        clock: Callable[[], float],
        show: Callable[[str], None] | None = None,
    ) -> None:
        self.session = session
        self.principal = principal
        scope = principal.id if principal is not None else f"session:{session}"
        self.recall = ScopedRecall(recall, scope) if recall is not None else None
        self._clock = clock
        self._show = show

    async def progress(self, detail: str) -> None:
        if self._show is not None:
            self._show(detail[:200])
        await trio.lowlevel.checkpoint()

    def now(self) -> float:
        return self._clock()


class ToolRegistry:
    """All tools by name."""

    def __init__(
        self,
        *,
        result_chars: int,
        seconds: float,
        notice: Callable[[str, str], None],
        fallback: Isolation | None = None,
    ) -> None:
        """`fallback`: what will do where a tool wants a container."""
        self._fallback = fallback
        self._entries: dict[str, ToolEntry] = {}
        self._result_chars = result_chars
        self._seconds = seconds
        self._notice = notice
        self._views: dict[str, tuple[ToolSpec, ...]] = {}

    def add(self, worker: Tool) -> tuple[str, ...]:
        """Take in a worker's tools; their names. `PluginLoadError`: a bad name or schema, or a name that is taken."""
        made: list[ToolEntry] = []
        for spec in worker.specs():
            problem = ""
            if not TOOL_NAME.fullmatch(spec.name):
                problem = "expected 1 to 64 letters, digits, '_' or '-' as a tool's name"
            elif spec.name in self._entries or spec.name in [entry.spec.name for entry in made]:
                other = self._entries[spec.name].worker.name if spec.name in self._entries else worker.name
                problem = f"worker {other!r} already has a tool of that name"
            elif spec.parameters.get("type") != "object":
                problem = f"expected parameters of type 'object', found {spec.parameters.get('type')!r}"
            else:
                try:
                    validator = _schemas.build_validator(spec.parameters)
                    if worker.level != "host":  # what a stranger wrote must not keep this process busy
                        validator = _schemas.build_validator(_schemas.outline(spec.parameters))
                except SchemaError as error:
                    problem = f"its parameters are {error.problem}"
            if problem:
                problem = f"tool {spec.name!r} of {worker.name!r}: {problem}"
                raise PluginLoadError(problem, plugin=f"tools/{worker.name}")
            made.append(ToolEntry(spec, worker, validator, Origin("tool", spec.name)))
        self._entries.update({entry.spec.name: entry for entry in made})
        self._views.clear()
        return tuple(entry.spec.name for entry in made)

    def find(self, name: str) -> ToolEntry | None:
        return self._entries.get(name)

    def specs(self, agent: Agent | None = None) -> tuple[ToolSpec, ...]:
        """The tools that an agent may see; all of them for None."""
        patterns = None if agent is None else agent.tools
        key = "" if patterns is None else "\n".join(patterns) or "\n"
        found = self._views.get(key)
        if found is None:
            entries = (entry.spec for entry in self._entries.values())
            found = tuple(spec for spec in entries if patterns is None or _listed(spec.name, patterns))
            self._views[key] = found
        return found

    def fault(self, entry: ToolEntry, arguments: Any) -> str:
        """What is wrong with the arguments, in words for the model; empty where they fit."""
        if not isinstance(arguments, dict):
            return f"expected the arguments as one JSON object, found {str(arguments)[:200]!r}"
        try:
            found = _schemas.fault(entry.validator, arguments)
        except (ArithmeticError, RecursionError) as error:  # of numbers and depths that validators do not expect
            return f"the arguments cannot be checked: {said(error)}"
        return "" if found is None else f"arguments{found[0]}: {found[1]}"

    async def run(self, entry: ToolEntry, call: ToolCall, context: ToolContext) -> tuple[ToolResult, str]:
        """One call under its time limit; the result, and the whole text where the result was cut.

        Never raises for what a tool does; what it raises is classified and its text is not shown to the model.
        """
        spec = entry.spec
        level = entry.worker.level
        if spec.isolation != "host" and not reaches(level, spec.isolation, self._fallback):
            return _refused_isolation(call, spec, level), ""
        # An isolator ends a call by itself, which tells more; this is for one that does not.
        seconds = (spec.timeout or self._seconds) + (0 if level == "host" else _GRACE)
        scope: trio.CancelScope | None = None
        try:
            if entry.worker.immediate:
                return self._finish(entry, call, await entry.worker.call(call, context))
            with trio.move_on_after(seconds) as scope:
                raw = await entry.worker.call(call, context)
            if scope.cancelled_caught:
                return _too_late(call, spec, seconds), ""
            return self._finish(entry, call, raw)
        except BaseException as error:  # noqa: BLE001  # a tool that raises is a result, never a dead turn
            fault = await own_fault(error)
            if scope is not None and scope.cancel_called:  # what it raised came of that: it may have had its effect
                return _too_late(call, spec, seconds), ""
            return self._failure(entry, call, fault)

    def _failure(self, entry: ToolEntry, call: ToolCall, error: BaseException) -> tuple[ToolResult, str]:
        if isinstance(error, ToolError):  # the tool's words, with its label and as long as a result may be
            return self._finish(entry, call, ToolResult(call.id, call.tool, (Text(str(error.problem)),), "failed"))
        self._notice(f"tools/{call.tool}", f"call {call.id} raised {said(error)}")
        return result_of(call, "failed", f"internal error in the tool ({type(error).__name__})"), ""

    def _finish(self, entry: ToolEntry, call: ToolCall, raw: ToolResult | str) -> tuple[ToolResult, str]:
        if isinstance(raw, str):
            if len(raw) <= self._result_chars:
                return ToolResult(call.id, call.tool, (Text(sound(raw), entry.origin),)), ""
            return self._cut(call, entry, (Text(sound(raw)),), "")
        if not isinstance(raw, ToolResult):
            raise TypeError(f"expected a ToolResult or text, found {type(raw).__name__}")
        parts = stamp(raw.parts, entry.origin)
        error = raw.error if raw.error in _ERRORS else "failed"
        evidence = raw.evidence if entry.worker.level != "host" else {}
        if sum(_size(part) for part in parts) > self._result_chars:
            result, full = self._cut(call, entry, parts, error)
            return evolve(result, evidence=evidence), full
        return ToolResult(call.id, call.tool, parts, error, evidence=evidence), ""

    def _cut(self, call: ToolCall, entry: ToolEntry, parts: tuple[Part, ...], error: str) -> tuple[ToolResult, str]:
        """Keep the beginning and the end of a long text: errors stand at the end, headings at the beginning."""
        whole = "\n".join(_shown(part) for part in parts if isinstance(part, Text | Data))
        others = tuple(part for part in parts if not isinstance(part, Text | Data))
        if len(whole) <= self._result_chars:
            return ToolResult(call.id, call.tool, stamp((Text(whole), *others), entry.origin), error), ""
        tail, cut = self._result_chars // 5, len(whole) - self._result_chars
        head = self._result_chars - tail
        text = f"{whole[:head]}\n[... {cut} characters left out ...]\n{whole[-tail:]}"
        return ToolResult(call.id, call.tool, stamp((Text(text), *others), entry.origin), error, cut), _kept(whole)


_KEPT_CHARS = 2_000_000
"""Characters of a result that the journal keeps. A session is read whole: a few endless results would make that
impossible."""


def _kept(whole: str) -> str:
    left_out = len(whole) - _KEPT_CHARS
    return whole if left_out <= 0 else f"{whole[:_KEPT_CHARS]}\n[... {left_out} characters not kept ...]"


_GRACE = 5.0
"""Seconds."""
_ERRORS = ("", "denied", "invalid", "failed", "timeout", "isolation", "unknown", "skipped", "cancelled")


def _size(part: Part) -> int:
    return len(_shown(part)) if isinstance(part, Text | Data) else 0


def _shown(part: Text | Data) -> str:
    return part.text if isinstance(part, Text) else json.dumps(part.value, ensure_ascii=False)


def _listed(name: str, patterns: Sequence[str]) -> bool:
    return any(name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])) for pattern in patterns)


def result_of(call: ToolCall, error: str, text: str) -> ToolResult:
    """A result in the core's own words."""
    return ToolResult(call.id, call.tool, (Text(sound(text), HOST),), error)


def _too_late(call: ToolCall, spec: ToolSpec, seconds: float) -> ToolResult:
    return result_of(call, "unknown" if spec.effect == "once" else "timeout", f"no result within {seconds:g} s")


def _refused_isolation(call: ToolCall, spec: ToolSpec, level: str) -> ToolResult:
    text = (
        f"tool {spec.name!r} must run in a {spec.isolation} or stronger, and runs in the {level} here;"
        f" it was not run. Next: take the isolation out of its table, which then is {spec.isolation!r}"
    )
    return result_of(call, "isolation", text)
