"""The yardstick: what a loop costs that is written by hand on the same libraries and does nothing else.

It has events, seven pluggy plugins that are told of them, one authorisation by hook, one schema check of arguments, and
a nursery with a deadline in each turn. It has no journal, no lanes, no policies, no limits, no streaming.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import jsonschema
import pluggy
import trio

spec, impl = pluggy.HookspecMarker("floor"), pluggy.HookimplMarker("floor")
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


@attrs.frozen
class Event:
    kind: str
    data: Any
    id: str = attrs.field(factory=lambda: uuid.uuid4().hex)


class Spec:
    @spec
    def on_event(self, session: str, event: Event) -> None: ...

    @spec(firstresult=True)
    def authorize(self, session: str, name: str, args: Any) -> bool | None: ...

    @spec(firstresult=True)
    def model(self, history: list[Event]) -> Callable[[], Awaitable[Event]] | None: ...


class Audit:
    @impl
    def on_event(self, session: str, event: Event) -> None: ...


class Authority:
    @impl
    def authorize(self, session: str, name: str, args: Any) -> bool:
        return name == "add"


class Model:
    def __init__(self, delay: float, *, tool: bool) -> None:
        self.delay, self.tool = delay, tool

    @impl
    def model(self, history: list[Event]) -> Callable[[], Awaitable[Event]]:
        async def answer() -> Event:
            if self.delay:
                await trio.sleep(self.delay)
            last = history[-1]
            if last.kind == "tool_result":
                return Event("assistant", str(last.data["result"]))
            if self.tool:
                return Event("tool_call", {"name": "add", "args": {"a": 1, "b": 2}})
            return Event("assistant", "done")

        return answer


class Floor:
    """The loop."""

    def __init__(self, *, tool: bool, delay: float) -> None:
        self.plugins = pluggy.PluginManager("floor")
        self.plugins.add_hookspecs(Spec)
        for plugin in (Audit(), Authority(), Model(delay, tool=tool), *(Audit() for _ in range(4))):
            self.plugins.register(plugin)
        self.validator = jsonschema.Draft202012Validator(SCHEMA)
        self.histories: dict[str, list[Event]] = {}

    async def ask(self, session: str, text: str) -> str:
        history = self.histories.setdefault(session, [])
        history.append(Event("user", text))
        hook = self.plugins.hook
        hook.on_event(session=session, event=history[-1])
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(60):
                while True:
                    event = await hook.model(history=history)()
                    history.append(event)
                    hook.on_event(session=session, event=event)
                    if event.kind != "tool_call":
                        break
                    await self._call(session, event, history, nursery)
        return str(history[-1].data)

    async def _call(self, session: str, event: Event, history: list[Event], nursery: trio.Nursery) -> None:
        args = event.data["args"]
        self.validator.validate(args)
        if not self.plugins.hook.authorize(session=session, name=event.data["name"], args=args):
            raise PermissionError(event.data["name"])
        results: list[int] = []

        async def run() -> None:
            results.append(args["a"] + args["b"])

        nursery.start_soon(run)
        while not results:
            await trio.lowlevel.checkpoint()
        history.append(Event("tool_result", {"result": results[0]}))
        self.plugins.hook.on_event(session=session, event=history[-1])
