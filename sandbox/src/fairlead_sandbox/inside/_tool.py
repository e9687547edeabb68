"""Runs one tool on trio, which cancels it where the host says so."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import trio

from fairlead.errors import ToolError

from ._context import Context, answered
from ._frames import FrameReader, encode
from ._outcome import MAX_FRAME, chosen, finished, refused, rehearse

__all__ = ["run_tool", "warm_up"]


def run_tool(channel: socket.socket, plugins: Any, obey: Callable[[Mapping[str, Any]], None]) -> tuple[Any, int]:
    """Wait for the order and do it: the result as JSON, and how many bytes it may have.

    The result is text, or a `ToolResult` as an object. `obey` takes the order's limits upon this process. Raises what
    the tool raises.
    """
    result, order = trio.run(_run, _Link(channel), plugins, obey)
    return finished(result, order)


async def _run(link: _Link, plugins: Any, obey: Callable[[Mapping[str, Any]], None]) -> tuple[Any, dict[str, Any]]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.listen)
        with trio.move_on_after(0):
            await link.ordered.wait()
        if not link.order:
            await warm_up()
        await link.ordered.wait()
        order = link.order
        obey(order)
        worker, call = chosen(plugins, order)
        with link.scope:
            result = refused(plugins, worker, call) or await worker.call(call, Context(order, link))
        nursery.cancel_scope.cancel()
    if link.scope.cancelled_caught:
        raise ToolError("it was cancelled")
    return result, order


async def warm_up() -> None:
    """Go the way of a call with nothing in it.

    In the zygote: what is made at first use is made once. In a forked process, which gets its own copy of each page
    when it first writes to it: that happens before anybody waits.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        with trio.CancelScope():
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    rehearse()


class _Link:
    """The call's end of its channel, for trio."""

    def __init__(self, channel: socket.socket) -> None:
        self.scope = trio.CancelScope()
        self.ordered = trio.Event()
        self.order: dict[str, Any] = {}
        self._channel = channel
        self._reader = FrameReader(MAX_FRAME)
        self._lock = trio.Lock()
        self._asked = 0
        self._events: dict[int, trio.Event] = {}
        self._answers: dict[int, dict[str, Any]] = {}

    async def listen(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._channel)
            try:
                data = self._channel.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            if not data:
                if not self.order:
                    os._exit(0)  # no call will come
                return
            for frame in self._reader.feed(data):
                self._heard(frame)

    def _heard(self, frame: dict[str, Any]) -> None:
        if frame["op"] == "call":
            self.order = frame
            self.ordered.set()
        elif frame["op"] == "cancel":
            self.scope.cancel()
        elif frame["op"] == "answer" and (event := self._events.pop(frame["ask"], None)) is not None:
            self._answers[frame["ask"]] = frame
            event.set()

    async def send(self, frame: dict[str, Any]) -> None:
        data = memoryview(encode(frame))
        async with self._lock:
            with trio.CancelScope(shield=True):  # half a frame would break the channel
                while data:
                    await trio.lowlevel.wait_writable(self._channel)
                    try:
                        data = data[self._channel.send(data, socket.MSG_DONTWAIT) :]
                    except BlockingIOError:
                        continue

    async def ask(self, service: str, args: dict[str, Any]) -> Any:
        """What the host answers. `FairleadError`: it refused or failed."""
        self._asked += 1
        number, event = self._asked, trio.Event()
        self._events[number] = event
        await self.send({"op": "ask", "ask": number, "service": service, "args": args})
        await event.wait()
        return answered(self._answers.pop(number))
