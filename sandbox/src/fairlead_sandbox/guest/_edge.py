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
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # it was seen: nobody is left who wants it
        raise
    return task.result()
