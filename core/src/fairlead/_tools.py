"""The tools of an app: their registry, the check of arguments, and one call with its limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio
from attrs import define, evolve

from fairlead import _schemas
from fairlead._contracts import Recall, Tool, ToolContext
from fairlead._isolation import reaches
from fairlead._leaf import own_fault, said
from fairlead._message import HOST, TOOL_NAME, Data, Origin, Part, Text, ToolCall, ToolResult, sound, stamp
from fairlead.errors import PluginLoadError, SchemaError, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fairlead._config import Agent
    from fairlead._message import Principal
    from fairlead._work import Isolation, Note, ToolSpec

__all__ = ["CallContext", "ToolEntry", "ToolRegistry", "result_of"]


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
        self._recall, self._scope = recall, scope

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
        self.session, self.principal = session, principal
        scope = principal.id if principal is not None else f"session:{session}"
        self.recall = ScopedRecall(recall, scope) if recall is not None else None
        self._clock, self._show = clock, show

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
        self._result_chars, self._seconds, self._notice, self._fallback = result_chars, seconds, notice, fallback
        self._entries: dict[str, ToolEntry] = {}
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
