"""A Python function as a tool: what `fairlead.tool` makes, and `fairlead.open` of a function that it is handed."""

from __future__ import annotations

import inspect
import json
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, get_type_hints

from attrs import asdict, evolve, has

from fairlead._codec import check_structure, structure
from fairlead._contracts import Tool
from fairlead._types import context_parameter, spec_of
from fairlead.errors import SchemaError, ToolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from fairlead._contracts import ToolContext
    from fairlead._message import ToolCall, ToolResult
    from fairlead._work import Effect, ToolSpec

__all__ = ["FunctionTool", "tool"]

_SLOW = 0.02
"""Seconds: a plain function that once took longer runs in a thread then, so that it stalls nobody else."""
_PENANCE = 16
"""Quick calls in a row after which it runs in place again: the machine was slow, and a thread costs as much as a turn.
Each time that it is slow again they are twice as many."""


class FunctionTool(Tool):
    """A Python function as a tool. A coroutine function is awaited; a plain one runs in place while it is quick."""

    def __init__(self, function: Callable[..., Any], **said: Any) -> None:
        """`said`: fields of the spec that the signature and the docstring do not say."""
        self._function = function
        self._spec = evolve(spec_of(function), **said)
        self.name = self._spec.name
        self._context = context_parameter(function)
        self._hints = _structured_hints(function, self._context)
        self._apart, self._penance = 0, _PENANCE
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
        if self._apart:
            # A thread that does not come back in time is left behind, and the call's outcome unknown.
            import trio  # noqa: PLC0415  # see `_awaited`

            value = await trio.to_thread.run_sync(self._timed, arguments, abandon_on_cancel=True)
        else:
            value = self._timed(arguments)
        return _as_text(await self._awaited(value) if inspect.isawaitable(value) else value)

    def _timed(self, arguments: Mapping[str, Any]) -> Any:
        """Run the function, and learn where it shall run next time."""
        started = time.perf_counter()
        value = self._function(**arguments)
        if time.perf_counter() - started > _SLOW:
            self._apart, self._penance, self.immediate = self._penance, self._penance * 2, False
        elif self._apart:
            self._apart -= 1
        return value

    def _structured(self, name: str, value: Any) -> Any:
        hint = self._hints.get(name)
        if hint is None or type(value) is hint:
            return value
        return int(value) if hint is int else structure(value, hint)

    async def _awaited(self, value: Awaitable[Any]) -> Any:
        """A decorator may hide that a function waits: this first time nobody else keeps the clock."""
        if not self.immediate:
            return await value
        self.immediate = False
        import trio  # noqa: PLC0415  # a sandbox whose tools never await does without it

        async def timed() -> Any:
            with trio.fail_after(self._spec.timeout or _UNASKED):
                return await value

        return await timed() if trio.lowlevel.in_trio_task() else trio.run(timed)


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
        if hint is not int:  # which needs no converter, and that costs 40 ms
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
