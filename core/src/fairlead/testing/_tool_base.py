"""What the checks of a tool share: its hooks, one call, and contexts that watch it."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from fairlead._contracts import Recall, Tool, ToolContext
from fairlead._events import ToolReturned
from fairlead._message import Principal, Text, ToolCall, ToolResult, new_id
from fairlead._work import ToolSpec
from fairlead.errors import ToolError
from fairlead.testing._fakes import FakeToolContext
from fairlead.testing._worker_kit import WorkerConformance, files_below, promise, same, within, writable

__all__ = ["CALL", "EFFECT", "ERROR", "RESULT", "SPEC", "SPECS", "ToolKit", "Watched", "checkpoints", "words_of"]

CALL, SPEC, SPECS = "fairlead.Tool.call", "fairlead.ToolSpec", "fairlead.Tool.specs"
RESULT, ERROR, EFFECT = "fairlead.ToolResult", "fairlead.errors.ToolError", "fairlead.types.Effect"
Arguments = Mapping[str, Any]


class Watched(ToolContext):
    """A context that does something else at one place."""

    def __init__(
        self,
        inner: ToolContext,
        *,
        progress: Callable[[str], Awaitable[None]] | None = None,
        now: float | None = None,
        **changed: Any,
    ) -> None:
        self.session: str = changed.get("session", inner.session)
        self.principal: Principal | None = changed.get("principal", inner.principal)
        self.recall: Recall | None = changed.get("recall", inner.recall)
        self._inner, self._progress, self._now = inner, progress, now

    async def progress(self, detail: str) -> None:
        await (self._inner.progress if self._progress is None else self._progress)(detail)

    def now(self) -> float:
        return self._inner.now() if self._now is None else self._now


class ToolKit(WorkerConformance[Tool]):
    """The hooks. Subclass `ToolConformance`, which has the checks."""

    secret = ""
    """What make_worker gives the worker and must appear nowhere; empty where it has none."""
    seconds = 60.0
    """For a call whose spec says no time-out."""
    stop_seconds = 5.0
    """After a cancellation."""

    async def example(self, spec: ToolSpec) -> Arguments:
        """Override where needed: arguments with which that tool succeeds.

        As it is: the schema's first ``examples``, or nothing where it requires nothing.
        """
        examples = spec.parameters.get("examples") or ([] if spec.parameters.get("required") else [{}])
        promise(examples, f"the schema of {spec.name!r} has examples, or the test overrides example()", SPEC)
        found: Arguments = examples[0]
        return found

    async def context(self, spec: ToolSpec) -> ToolContext:
        """Override where the tool needs more: a recall, another clock."""
        return FakeToolContext(principal=Principal("kit:alice", "Alice"))

    async def slow_example(self, spec: ToolSpec) -> Arguments | None:
        """Override where it can be: arguments with which that tool takes 10 s or longer. None: it never does."""
        return None

    async def failing_example(self, spec: ToolSpec) -> Arguments | None:
        """Override where it can be: arguments of the schema with which that tool fails. None: it never does."""
        return None

    async def large_example(self, spec: ToolSpec) -> Arguments | None:
        """Override where it can be: arguments with which that tool has as much to say as it ever has."""
        return None

    async def state(self, tmp_path: Path) -> object:
        """Override where the effect is elsewhere: all that the tools can change, comparable.

        As it is: the files below `tmp_path` and what is in them.
        """
        return {str(path): path.read_bytes() for path in files_below(tmp_path) if path.is_file()}

    # -- for the checks

    async def examples(self, spec: ToolSpec) -> Sequence[Arguments]:
        """The example, and all others of the schema."""
        first = await self.example(spec)
        others = spec.parameters.get("examples", ())
        return [first, *(each for each in others if each != first)]

    async def call(
        self, tool: Tool, spec: ToolSpec, arguments: Arguments, *, call: str = "", context: ToolContext | None = None
    ) -> ToolResult | str:
        """A result that is what the contract says; raises what the tool raises."""
        asked = ToolCall(call or new_id(), spec.name, arguments)
        context = context or await self.context(spec)
        with within(spec.timeout or self.seconds, f"{spec.name} ends", CALL):
            result = await tool.call(asked, context)
        promise(isinstance(result, ToolResult | str), "a call gives a ToolResult or text", CALL, result)
        whole = ToolResult(asked.id, asked.tool, (Text(result),)) if isinstance(result, str) else result
        writable(ToolReturned(turn="t", result=whole))
        return result

    async def succeed(self, tool: Tool, spec: ToolSpec, arguments: Arguments | None = None, **more: Any) -> Any:
        """The example, without an error."""
        arguments = await self.example(spec) if arguments is None else arguments
        result = await self.call(tool, spec, copy.deepcopy(arguments), **more)
        promise(not getattr(result, "error", ""), "the example succeeds", CALL, (spec.name, result))
        return result

    async def attempt(self, tool: Tool, spec: ToolSpec, arguments: Arguments, **more: Any) -> ToolResult | str | None:
        """A result; or None after a `ToolError`, which must have words. Nothing else may be raised."""
        try:
            return await self.call(tool, spec, arguments, **more)
        except ToolError as error:
            promise(error.problem.strip(), "a ToolError has words", ERROR, (spec.name, error))
            return None
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001  # it is what the check is after
            promise(False, "a tool raises ToolError alone", CALL, (spec.name, str(arguments)[:300], error))
            return None

    async def cancelled(self, tool: Tool, spec: ToolSpec, point: int, call: str = "") -> None:
        """The example, cancelled after so many passes of the scheduler."""
        arguments, context = await self.example(spec), await self.context(spec)
        with within(self.stop_seconds, f"a call of {spec.name} cancelled after {point} steps stops", CALL):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(checkpoints, point, nursery.cancel_scope)
                await tool.call(ToolCall(call or new_id(), spec.name, arguments), context)
                nursery.cancel_scope.cancel()


async def checkpoints(count: int, scope: trio.CancelScope) -> None:
    """Cancel a scope after so many passes of the scheduler: the same place each time on a quiet machine."""
    for _ in range(count):
        await trio.lowlevel.checkpoint()
    scope.cancel()


def words_of(result: ToolResult | str | None) -> str:
    """The text of a result."""
    return "" if result is None else result if isinstance(result, str) else result.text


def names_its_call(result: ToolResult | str, call: str, tool: str) -> None:
    if isinstance(result, ToolResult):
        same((call, tool), (result.call, result.tool), "a result names its call", RESULT)
