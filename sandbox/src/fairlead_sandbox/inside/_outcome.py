"""What every way of running a tool shares: which worker, whether the arguments fit, and its result as JSON."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from fairlead import File, Origin, Principal, Text, Tool, ToolCall, ToolResult
from fairlead.errors import ToolError

from ._arguments import fault
from ._frames import FrameReader, encode

__all__ = ["MAX_FRAME", "chosen", "finished", "refused", "rehearse", "speaker"]

MAX_FRAME = 64 * 1024 * 1024
"""Bytes of an order, or of an answer to a question."""

SCHEME = "workspace:"
"""A `File` whose URL begins so is a file of the workspace: its bytes go out with the result."""
_HOST = Origin("host")


def chosen(plugins: Any, order: Mapping[str, Any]) -> tuple[Tool, ToolCall]:
    """Who shall do it, and what. `ToolError`: there is nobody."""
    workers: Sequence[Tool] = plugins.workers.get(order["table"], ())
    if not 0 <= order["worker"] < len(workers):
        raise ToolError(f"no worker {order['worker']} in the table {order['table']!r}")
    return workers[order["worker"]], ToolCall(order["id"], order["tool"], order["arguments"])


def refused(plugins: Any, worker: Tool, call: ToolCall) -> ToolResult | None:
    """Where the arguments are not what the tool has asked for."""
    asked = plugins.unchecked.get((id(worker), call.tool))
    wrong = fault(asked, call.arguments) if asked is not None else ""
    return ToolResult(call.id, call.tool, (Text(f"The call was not made: {wrong}"),), "invalid") if wrong else None


def speaker(order: Mapping[str, Any]) -> Principal | None:
    """Who asked for the call."""
    said = order.get("principal")
    return Principal(said["id"], said.get("name", ""), tuple(said.get("roles", ()))) if said else None


def finished(result: object, order: Mapping[str, Any]) -> tuple[Any, int]:
    """The result as JSON, text or an object, and how many bytes it may have. `TypeError`: it is neither."""
    max_bytes: int = order["limits"]["result_bytes"]
    if isinstance(result, ToolResult):
        parts = _with_files(result.parts, order["work"], max_bytes)
        return _plain(ToolResult(result.call, result.tool, parts, result.error, result.cut)), max_bytes
    if not isinstance(result, str):
        raise TypeError(f"the tool gave an object of type {type(result).__qualname__}, expected ToolResult or text")
    return result, max_bytes


def _plain(result: ToolResult) -> Any:
    """As `fairlead.wire.unstructure` has it, which costs 40 ms once and is here for each call again."""
    if all(type(part) is Text and part.origin == _HOST for part in result.parts):
        parts = [{"type": "text", "text": part.text} for part in result.parts if isinstance(part, Text)]
        whole = {"call": result.call, "tool": result.tool, "parts": parts, "error": result.error, "cut": result.cut}
        return {key: value for key, value in whole.items() if value or key in ("call", "tool")}
    from fairlead.wire import unstructure  # noqa: PLC0415  # see above

    return unstructure(result)


def rehearse() -> None:
    """What every call does at its beginning and its end."""
    call = ToolCall("", "", {})
    order = {"principal": {"id": "somebody"}, "limits": {"result_bytes": 0}, "work": "/"}
    speaker(order)
    encode({"op": "result", "value": finished(ToolResult(call.id, call.tool, (Text(""),)), order)[0]})
    FrameReader(MAX_FRAME).feed(encode({"op": "call", "arguments": {"\u0000": [1, 2.5, None, True]}}))


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
