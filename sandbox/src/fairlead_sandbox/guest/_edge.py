"""Calls of an asyncio plugin, cancelled as asyncio does it: once.

A scope of anyio cancels again at every await, also in the ``finally`` of code that never heard of that: a library that
says goodbye to its server there could not. So each call is a task of its own, which is cancelled once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import anyio

__all__ = ["run_once_cancelled"]


async def run_once_cancelled(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of `work`. Cancelled: `work` is cancelled once and waited for, however long it takes."""
    task = asyncio.create_task(_contained(work))
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # it was seen: nobody is left who wants it
        raise
    value, leaving = task.result()
    if leaving is not None:
        raise leaving
    return value


async def _contained(work: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """What asyncio would take for the end of the whole program is the outcome of this one call."""
    try:
        return await work, None
    except (KeyboardInterrupt, SystemExit) as leaving:
        return None, leaving
