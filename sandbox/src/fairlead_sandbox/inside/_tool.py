"""Runs one tool on trio, with its context: progress, recall, cancellation."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trio

from fairlead import File, Principal, Text, Tool, ToolCall, ToolContext, ToolResult
from fairlead.errors import FairleadError, ToolError
from fairlead.memory import Note, Recall
from fairlead.wire import structure, unstructure

from ._arguments import fault
from ._frames import FrameReader, encode

__all__ = ["run_tool", "warm_up"]

MAX_FRAME = 64 * 1024 * 1024
SCHEME = "workspace:"
"""A `File` whose URL begins so is a file of the workspace: its bytes go out with the result."""


def run_tool(channel: socket.socket, plugins: Any, obey: Callable[[Mapping[str, Any]], None]) -> tuple[Any, int]:
    """Wait for the order and do it: the result as JSON, and how many bytes it may have.

    The result is text, or a `ToolResult` as an object. `obey` takes the order's limits upon this process. Raises what
    the tool raises.
    """
    result, order = trio.run(_run, _Link(channel), plugins, obey)
    max_bytes: int = order["limits"]["result_bytes"]
    if isinstance(result, ToolResult):
        parts = _with_files(result.parts, order["work"], max_bytes)
        return unstructure(ToolResult(result.call, result.tool, parts, result.error, result.cut)), max_bytes
    if not isinstance(result, str):
        raise TypeError(f"the tool gave an object of type {type(result).__qualname__}, expected ToolResult or text")
    return result, max_bytes


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
        workers: Sequence[Tool] = plugins.workers.get(order["table"], ())
        if not 0 <= order["worker"] < len(workers):
            raise ToolError(f"no worker {order['worker']} in the table {order['table']!r}")
        call = ToolCall(order["id"], order["tool"], order["arguments"])
        worker = workers[order["worker"]]
        with link.scope:
            result = _refused(worker, call) or await worker.call(call, _Context(order, link))
        nursery.cancel_scope.cancel()
    if link.scope.cancelled_caught:
        raise ToolError("it was cancelled")
    return result, order


def _refused(worker: Tool, call: ToolCall) -> ToolResult | None:
    """Where the arguments are not what the tool has asked for."""
    asked = next((spec.parameters for spec in worker.specs() if spec.name == call.tool), True)
    wrong = fault(asked, call.arguments)
    return ToolResult(call.id, call.tool, (Text(f"The call was not made: {wrong}"),), "invalid") if wrong else None


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
    call = ToolCall("", "", {})
    structure({"id": "somebody"}, Principal)
    encode({"op": "result", "value": unstructure(ToolResult(call.id, call.tool, (Text(""),)))})
    FrameReader(MAX_FRAME).feed(encode({"op": "call", "arguments": {"\u0000": [1, 2.5, None, True]}}))


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
        answer = self._answers.pop(number)
        if error := answer.get("error"):
            raise FairleadError(error["problem"])
        return answer.get("value")


class _Context(ToolContext):
    """What the tool may know and do, through the channel."""

    def __init__(self, order: Mapping[str, Any], link: _Link) -> None:
        self.session = order["session"]
        self.principal = structure(order["principal"], Principal) if order.get("principal") else None
        self.recall = _Recall(link) if order.get("recall") else None
        self._link = link
        self._ahead = order["now"] - trio.current_time()

    async def progress(self, detail: str) -> None:
        await self._link.send({"op": "progress", "detail": detail[:200]})

    def now(self) -> float:
        return float(self._ahead + trio.current_time())


class _Recall(Recall):
    """The host's recall, bound there to the scope of whoever speaks."""

    def __init__(self, link: _Link) -> None:
        self._link = link

    async def add(self, note: Note) -> Note:
        return structure(await self._link.ask("recall.add", {"note": unstructure(note)}), Note)

    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:  # the host knows the scope
        found = await self._link.ask("recall.search", {"query": query, "limit": limit})
        return [structure(note, Note) for note in found]

    async def erase(self, scope: str, note: str | None = None) -> int:  # as above
        return int(await self._link.ask("recall.erase", {"note": note}))


# -- files that go out with a result


def _with_files(parts: Sequence[Any], work: str, left: int) -> tuple[Any, ...]:
    """The parts with the bytes of those that name a file of the workspace."""
    made = []
    for part in parts:
        url = getattr(part, "url", None)
        if isinstance(url, str) and url.startswith(SCHEME):
            data = _artifact(work, url.removeprefix(SCHEME), left)
            left -= len(data)
            known = {"name": part.name} if isinstance(part, File) else {}
            made.append(type(part)(media_type=part.media_type, data=data, **known))
        else:
            made.append(part)
    return tuple(made)


def _artifact(work: str, path: str, max_bytes: int) -> bytes:
    """The bytes of a regular file below the workspace that no link leads to. `ToolError`: it is not one."""
    names = path.split("/")
    if any(name in ("", ".", "..") for name in names):
        raise ToolError(f"{path!r} is no path inside of the workspace")
    directory = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = os.open(name, flags, dir_fd=directory)
            os.close(directory)
            directory = inner
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(names[-1], flags, dir_fd=directory)
    except OSError as error:
        raise ToolError(f"{path!r} cannot be sent: {error.strerror}") from None
    finally:
        os.close(directory)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise ToolError(f"{path!r} cannot be sent: it is no regular file with one name")
        if found.st_size > max_bytes:
            raise ToolError(f"{path!r} cannot be sent: it has more than {max_bytes} bytes")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(max_bytes)
    finally:
        os.close(fd)
