"""The isolator: what the core knows of all this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from fairlead import Finding, Tool
from fairlead.config import Config
from fairlead.isolation import Assignment, Isolator
from fairlead_sandbox.isolator._promised import PromisedTool

if TYPE_CHECKING:
    from fairlead_sandbox.isolator._yard import Yard

__all__ = ["SandboxIsolator", "make"]


def make(config: Config, nursery: trio.Nursery, notice: Callable[..., None]) -> SandboxIsolator:
    """The entry point."""
    return SandboxIsolator(config, nursery, notice)


class SandboxIsolator(Isolator):
    """Light until a plugin has to run."""

    def __init__(self, config: Config, nursery: trio.Nursery, notice: Callable[..., None]) -> None:
        self.name = "isolation"
        self._config, self._nursery, self._notice = config, nursery, notice
        self._opening = trio.Lock()
        self._yard: Yard | None = None

    async def close(self) -> None:
        if self._yard is not None:
            await self._yard.close()

    async def check(self) -> Sequence[Finding]:
        return self._yard.check() if self._yard is not None else ()

    async def place(self, assignment: Assignment) -> Mapping[str, Sequence[Any]]:
        table, manifest = assignment.table, assignment.plugin.manifest
        # Options may change what it offers.
        known = manifest is not None and manifest.tools and not assignment.settings.options
        if manifest is None or not known or table.kind != "tools" or assignment.level not in ("container", "kernel"):
            return await (await self._open()).place(assignment)
        promised = PromisedTool(
            table.name,
            manifest.tools,
            assignment.level,
            partial(self._keep, assignment),
            # A process in the place of a container has no record of its calls.
            remembers=not self._config.isolation.get("fallback"),
        )
        return {"tools": [promised]}

    async def forget(self, session: str) -> None:
        await (await self._open()).forget(session)

    async def _keep(self, assignment: Assignment) -> Tool:
        """Keep the promise: the worker itself."""
        placed = await (await self._open()).place(assignment)
        worker: Tool = placed["tools"][0]
        return worker

    async def _open(self) -> Yard:
        async with self._opening:
            if self._yard is None:
                from fairlead_sandbox.isolator._yard import Yard  # noqa: PLC0415  # 150 ms that most turns do not need

                yard = Yard(self._config, self._nursery, self._notice)
                await yard.open()
                self._yard = yard
            return self._yard
