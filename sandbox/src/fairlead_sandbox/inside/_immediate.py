"""Runs one tool that never awaits, without an event loop: to start and end one costs more than all else of a call."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fairlead.errors import ToolError

from ._context import Context, answered
from ._frames import FrameReader, encode
from ._outcome import MAX_FRAME, chosen, finished, refused

__all__ = ["drive", "run_immediately"]

CHUNK = 65_536


def run_immediately(channel: socket.socket, plugins: Any, obey: Callable[[Mapping[str, Any]], None]) -> tuple[Any, int]:
    """As `_tool.run_tool`, for a worker whose `immediate` is true. Who cancels it has to kill it."""
    link = _Link(channel)
    order = link.next()
    obey(order)
    worker, call = chosen(plugins, order)
    return finished(refused(plugins, worker, call) or drive(worker.call(call, Context(order, link))), order)


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Its value. `ToolError`: it waits for something, which it said it never does."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise ToolError("it is declared as one that never awaits, and it does", next_step="set `immediate = False` on it")


class _Link:
    """The call's end of its channel. Each method is done when it returns: nothing else runs meanwhile."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._reader = FrameReader(MAX_FRAME)
        self._frames: list[dict[str, Any]] = []
        self._asked = 0

    def next(self) -> dict[str, Any]:
        """The next frame. `ToolError`: the call is cancelled."""
        while not self._frames:
            data = self._channel.recv(CHUNK)
            if not data:
                os._exit(0)  # no call will come, or nobody waits for this one
            self._frames += self._reader.feed(data)
        frame = self._frames.pop(0)
        if frame["op"] == "cancel":
            raise ToolError("it was cancelled")
        return frame

    async def send(self, frame: dict[str, Any]) -> None:
        self._channel.sendall(encode(frame))

    async def ask(self, service: str, args: dict[str, Any]) -> Any:
        """What the host answers. `FairleadError`: it refused or failed."""
        self._asked += 1
        await self.send({"op": "ask", "ask": self._asked, "service": service, "args": args})
        while (frame := self.next()).get("ask") != self._asked:
            pass
        return answered(frame)
