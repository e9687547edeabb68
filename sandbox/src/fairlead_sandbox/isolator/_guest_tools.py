"""Tools of plugins that run as a whole in a process: one for each session, so that no session sees another's files.

What goes wrong there is a result, as it is in sandboxes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, evolve, field

from fairlead import Tool, ToolCall, ToolContext, ToolResult, ToolSpec
from fairlead.errors import FairleadError
from fairlead.types import Isolation
from fairlead_sandbox.isolator._guests import Guest
from fairlead_sandbox.isolator._results import failure

__all__ = ["GuestTool", "SessionGuests"]

DESCRIBING = "\n(describing)"
"""Stands for a session where only the tools are wanted; no session has a line break in front."""


@define(eq=False)
class _Member:
    """The guest of one session."""

    lock: trio.Lock = field(factory=trio.Lock)
    guest: Guest | None = None
    tools: Sequence[Tool] = ()
    users: int = 0
    used: float = 0.0


class SessionGuests:
    """One plugin's guests, a session each. Those that nobody uses are ended after a while, or where there are many."""

    def __init__(self, start: Callable[[str], Awaitable[Guest]], *, most: int, idle_seconds: float) -> None:
        """`start`: a guest for a session. `most`: guests at once, beyond those in use."""
        self._start = start
        self._most, self._idle_seconds = most, idle_seconds
        self._members: dict[str, _Member] = {}

    @asynccontextmanager
    async def use(self, session: str) -> AsyncIterator[tuple[Guest, Sequence[Tool]]]:
        """The session's guest with its tools open. Raises what starting it raises."""
        member = self._members.setdefault(session, _Member())
        member.users += 1
        try:
            async with member.lock:
                if member.guest is None:
                    await self._begin(session, member)
            assert member.guest is not None
            yield member.guest, member.tools
        finally:
            member.users -= 1
            member.used = trio.current_time()
            with trio.CancelScope(shield=True):
                await self._tidy()

    async def _begin(self, session: str, member: _Member) -> None:
        guest = await self._start(session)
        try:
            tools: Sequence[Tool] = (await guest.plugin.workers())["tools"]
            for tool in tools:
                await tool.open()
        except BaseException:
            with trio.CancelScope(shield=True):
                await guest.stop()
            raise
        member.guest, member.tools = guest, tools

    async def _tidy(self) -> None:
        """End what has been idle for long, and the longest idle ones where there are too many."""
        idle = sorted(((each.used, name) for name, each in self._members.items() if not each.users), reverse=True)
        late = trio.current_time() - self._idle_seconds
        for place, (used, name) in enumerate(idle):
            if place >= self._most or used < late or self._members[name].guest is None:
                await self.end(name)

    async def end(self, session: str) -> None:
        """End the guest of a session, where there is one; the next call starts another."""
        member = self._members.pop(session, None)
        if member is not None and member.guest is not None:
            await member.guest.stop()

    async def aclose(self) -> None:
        """End all, at the same time."""
        async with trio.open_nursery() as nursery:
            for session in tuple(self._members):
                nursery.start_soon(self.end, session)

    async def describe(self) -> Sequence[Sequence[ToolSpec]]:
        """The tools of each worker."""
        async with self.use(DESCRIBING) as (_, tools):
            found = [tuple(tool.specs()) for tool in tools]
        await self.end(DESCRIBING)
        return found


class GuestTool(Tool):
    """One tool worker whose calls run in the session's own process, and whose failures are typed.

    It remembers nothing: a call that is repeated runs again.
    """

    def __init__(self, guests: SessionGuests, worker: int, specs: Sequence[ToolSpec], level: Isolation) -> None:
        """`worker`: its place in its table."""
        self._guests, self._worker, self._specs = guests, worker, tuple(specs)
        self.level = level

    def specs(self) -> Sequence[ToolSpec]:
        return self._specs

    async def evidence(self) -> Mapping[str, Any]:
        """Of a process that is started for this question alone. Raises what starting one raises."""
        async with self._guests.use(DESCRIBING) as (_, tools):
            proof = dict(await tools[self._worker].evidence())
        await self._guests.end(DESCRIBING)
        return proof

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult | str:
        spec = next(spec for spec in self._specs if spec.name == call.tool)
        proof: Mapping[str, Any] | None = None
        try:
            async with self._guests.use(context.session) as (_, tools):
                tool = tools[self._worker]
                proof = dict(await tool.evidence())
                return await tool.call(call, context)
        except FairleadError as error:
            if proof is None:  # there was no process: what never began had no effect
                return failure(call, evolve(spec, effect="read"), error)
            return evolve(failure(call, spec, error), evidence=proof)
