"""Tasks in the app's own nursery: what fails in one of them must not end the app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

__all__ = ["start_sheltered"]


async def start_sheltered(
    nursery: trio.Nursery,
    act: Callable[..., Awaitable[None]],
    tell: Callable[[str], None],
) -> Any:
    """As `nursery.start`: errors before it has started are the caller's, later ones are told."""

    async def run(task_status: trio.TaskStatus[Any]) -> None:
        status = _Status(task_status)
        try:
            await act(task_status=status)
        except Exception as error:
            if not status.begun:
                raise
            tell(f"stopped with {type(error).__name__}: {str(error)[:300]}")

    try:
        return await nursery.start(run)
    except BaseExceptionGroup as group:
        raise _leaf(group) from group


class _Status:
    """Remembers whether the task has started."""

    def __init__(self, status: trio.TaskStatus[Any]) -> None:
        self._status = status
        self.begun = False

    def started(self, value: Any = None) -> None:
        self.begun = True
        self._status.started(value)


def _leaf(error: BaseException) -> BaseException:
    """The one exception in groups of one: nurseries wrap what passes through them."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
