"""The engine as it is seen from outside: which containers a process has, and when they are gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import trio

from fairlead_sandbox.container import Listing, list_containers, open_engine

__all__ = ["containers_of", "inspected", "within"]


def containers_of(pid: int) -> list[Listing]:
    """Those that a process made, also one that is dead: nothing is tidied here."""

    async def look() -> list[Listing]:
        async with open_engine(project="fairlead", roots=[], collect=False) as engine:
            return [each for each in await list_containers(engine) if each.pid == pid]

    return trio.run(look)


def inspected(container: str) -> dict[str, Any]:
    """The engine's own word about a container."""

    async def look() -> dict[str, Any]:
        async with open_engine(project="fairlead", roots=[], collect=False) as engine:
            return dict(await trio.to_thread.run_sync(engine.api.inspect_container, container))

    return trio.run(look)


def within(seconds: float, fact: Callable[[], object]) -> bool:
    """Whether it becomes true in that time."""
    until = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)  # real time: other processes and the engine work meanwhile
    return True
