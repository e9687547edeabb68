"""Tools that are known from metadata: nothing is prepared for them before one is called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from fairlead import Finding, Tool, ToolCall, ToolContext, ToolResult, ToolSpec
from fairlead.errors import FairleadError
from fairlead.types import Isolation

__all__ = ["PromisedTool"]


class PromisedTool(Tool):
    """Stands for a tool worker that is made when it is needed first."""

    def __init__(
        self,
        name: str,
        specs: Sequence[ToolSpec],
        level: Isolation,
        make: Callable[[], Awaitable[Tool]],
        *,
        remembers: bool,
    ) -> None:
        """`make` raises `FairleadError` where the worker cannot be made; it is asked again with the next call.

        `remembers`: as the worker will say. False where that is not sure: a call must never run twice.
        """
        self.name, self.remembers = name, remembers
        self.level = level
        self._specs = tuple(specs)
        self._make = make
        self._making = trio.Lock()
        self._made: Tool | None = None

    def specs(self) -> Sequence[ToolSpec]:
        return self._specs

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult | str:
        return await (await self._worker()).call(call, context)

    async def close(self) -> None:
        if self._made is not None:
            await self._made.close()

    async def check(self) -> Sequence[Finding]:
        try:
            return await (await self._worker()).check()
        except FairleadError as error:
            return [Finding(f"tools/{self.name}", ok=False, detail=error.problem, next_step=error.next_step)]

    async def identity(self) -> str:
        return await (await self._worker()).identity()

    async def evidence(self) -> Mapping[str, Any]:
        return await (await self._worker()).evidence()

    async def _worker(self) -> Tool:
        async with self._making:
            if self._made is None:
                made = await self._make()
                await made.open()
                self._made, self.level, self.remembers = made, made.level, made.remembers
            return self._made
