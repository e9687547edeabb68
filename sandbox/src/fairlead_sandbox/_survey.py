"""A true survey of the machine: what is here, what is missing, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable

import trio

from fairlead import Finding
from fairlead_sandbox._engine import ask_engine
from fairlead_sandbox._kernel import landlock, seccomp, try_bubblewrap

__all__ = ["survey"]


async def survey(seconds: float = 5.0) -> tuple[Finding, ...]:
    """What is here for isolation: Docker Engine, gVisor, bubblewrap, landlock, seccomp.

    `ok` says that it is there and works. What is missing is no fault as long as no plugin needs it. `seconds`: how
    long the engine, and bubblewrap, may take to answer. Nothing is changed and nothing stays behind; it raises nothing
    for what it finds. Cancelled: a thread that waits for the engine is left to end by itself.
    """
    found: dict[int, tuple[Finding, ...]] = {}

    async def ask(place: int, question: Callable[[], tuple[Finding, ...]]) -> None:
        found[place] = await trio.to_thread.run_sync(question, abandon_on_cancel=True)

    async def try_sandbox(place: int) -> None:
        found[place] = (await try_bubblewrap(seconds),)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 0, lambda: ask_engine(seconds))
        nursery.start_soon(try_sandbox, 1)
        nursery.start_soon(ask, 2, lambda: (landlock(), seccomp()))
    return (*found[0], *found[1], *found[2])
