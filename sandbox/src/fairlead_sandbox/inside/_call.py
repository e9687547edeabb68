"""The process of one call: takes its place, runs the tool, says what it gave, and is gone.

Nothing here protects anybody from the tool: that is the supervisor's work, and the kernel's. This is only polite.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ._frames import HEAD_BYTES, FrameError, encode
from ._kernel import Identities, become_call, limit, offer_to_oom_killer

__all__ = ["run_call"]

TRACE = 8_192
"""Characters of a traceback."""


def run_call(files: list[int], who: Identities, plugins: Any, egress: str | None, *, stay: bool) -> NoReturn:
    """Get ready, wait for the one order, and do it.

    `files`: the channel, over which it comes and its result goes; standard output; standard error. `egress`: the
    socket of the way out. `stay`: until the result was read; some kernels (gVisor) know a sender only while it lives.
    """
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, files[0])  # it need not find out
    _take_place(files, who)
    if egress is not None:
        from ._forward import start  # noqa: PLC0415  # threads, which few calls need

        start(egress)
    answer = _answer(channel, plugins)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    channel.setblocking(True)
    channel.sendall(answer)
    if stay:
        channel.recv(1)
    os._exit(0)


def _take_place(files: list[int], who: Identities) -> None:
    """All that needs no order, so that a call which comes later does not wait for it."""
    os.setsid()
    os.dup2(files[1], 1)
    os.dup2(files[2], 2)
    for fd in files[1:]:
        os.close(fd)
    become_call(who)
    offer_to_oom_killer()


def _obey(order: Mapping[str, Any]) -> None:
    limit(order["limits"])
    os.environ.update(order["environment"])
    os.chdir(order["work"])


def _answer(channel: socket.socket, plugins: Any) -> bytes:
    try:
        value, max_bytes = plugins.run(channel, plugins, _obey)
        frame = encode({"op": "result", "value": value})
        _check_size(frame, max_bytes)
    except FrameError as error:
        problem = f"its result cannot be sent: {error.problem}"
        return encode({"op": "error", "cause": "", "class": "FrameError", "problem": problem})
    except BaseException as error:  # noqa: BLE001  # a tool may raise anything
        return encode(_fault(error))
    return frame


def _check_size(frame: bytes, max_bytes: int) -> None:
    if len(frame) - HEAD_BYTES > max_bytes:
        raise FrameError(f"it has {len(frame)} bytes as JSON, at most {max_bytes} are allowed")


def _fault(error: BaseException) -> dict[str, Any]:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    frame = {"op": "error", "cause": _cause(error), "class": type(error).__name__, "problem": _said(error)}
    if frame["cause"] == "tool":
        return frame | {"next_step": _clean(getattr(error, "next_step", ""))}
    try:
        frame["trace"] = _clean("".join(traceback.format_exception(error, limit=-20))[-TRACE:])
    except BaseException:  # noqa: BLE001  # a class may raise anything while its text is made
        frame["trace"] = ""
    return frame


def _cause(error: BaseException) -> str:
    from fairlead.errors import ToolError  # noqa: PLC0415  # lies in the plugins' directories

    if isinstance(error, ToolError):
        return "tool"
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, BlockingIOError) and _is_at_limit():
        return "pids"
    return "pids" if isinstance(error, RuntimeError) and "can't start new thread" in str(error) else ""


def _is_at_limit() -> bool:
    """EAGAIN has many reasons. This one is that the user has as many processes and threads as it may."""
    limit, count = resource.getrlimit(resource.RLIMIT_NPROC)[0], 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError, KeyError):
            lines = dict(line.split(":\t", 1) for line in status.read_text("utf-8", "replace").splitlines())
            count += int(lines["Threads"]) if int(lines["Uid"].split()[0]) == os.getuid() else 0
    return 0 <= limit <= count + 1


def _said(error: BaseException) -> str:
    try:
        return _clean(error.problem if isinstance(getattr(error, "problem", None), str) else str(error))  # type: ignore[attr-defined]  # asked for just before
    except BaseException:  # noqa: BLE001  # a class may raise anything while its text is made
        return "(it has no text)"


def _clean(text: str) -> str:
    return str(text)[:10_000].encode("utf-8", "replace").decode("utf-8")
