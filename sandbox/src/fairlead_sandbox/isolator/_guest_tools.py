"""Tools of plugins that run as a whole elsewhere: what goes wrong there is a result, as it is in sandboxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from fairlead import Finding, Tool, ToolCall, ToolContext, ToolResult, ToolSpec
from fairlead.errors import FairleadError
from fairlead_sandbox.isolator._results import failure

__all__ = ["GuestTool"]


class GuestTool(Tool):
    """One tool worker in a plugin's process, whose failures are typed: whether a lost call had its effect is unknown.

    It remembers nothing: a call that is repeated runs again.
    """

    def __init__(self, inner: Tool) -> None:
        self.name, self.level = inner.name, inner.level
        self._inner = inner

    def specs(self) -> Sequence[ToolSpec]:
        return self._inner.specs()

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    async def check(self) -> Sequence[Finding]:
        return await self._inner.check()

    async def evidence(self) -> Mapping[str, Any]:
        return await self._inner.evidence()

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult | str:
        spec = next(spec for spec in self._inner.specs() if spec.name == call.tool)
        try:
            proof = await self._inner.evidence()
        except FairleadError as error:  # there is no process: what never began had no effect
            return failure(call, evolve(spec, effect="read"), error)
        try:
            return await self._inner.call(call, context)
        except FairleadError as error:
            return evolve(failure(call, spec, error), evidence=dict(proof))
