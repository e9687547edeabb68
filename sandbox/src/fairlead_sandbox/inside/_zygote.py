"""The zygote: imports the plugins once, and forks a process for each call.

Code of plugins runs here, so nothing of the host's lies here: no channel to it, no arguments of calls.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from ._call import run_call
from ._frames import FrameReader, encode
from ._kernel import Identities, hide
from ._pipes import receive_files
from ._plugins import PluginFailed, Plugins

__all__ = ["serve"]

MAX_FRAME = 64 * 1024 * 1024
TRACE = 16_384
"""Characters of a traceback."""


def serve(channel: socket.socket) -> NoReturn:
    """Load what the supervisor names, say what it is, and fork until the channel ends."""
    reader = FrameReader(MAX_FRAME)
    setup, _ = receive_files(channel, reader)
    if setup is None:
        os._exit(0)
    who = Identities(*setup["who"])
    os.environ.clear()
    os.environ.update(setup["environment"])
    sys.path[:] = [*setup["paths"], *(path for path in sys.path if path not in ("", "/fairlead"))]
    plugins = _load(channel, setup["plugins"])
    _settle()
    hide()
    gc.collect()
    gc.freeze()  # a collection in a call would copy every page that it touches
    while True:
        order, files = receive_files(channel, reader)
        if order is None:
            os._exit(0)
        _fork(channel, files, partial(run_call, files, who, plugins, setup["egress"], stay=setup["stay"]))


def _settle() -> None:
    """What every call would have to do first; its process gets it by the fork."""
    os.umask(0o022)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # they are what the interpreter made


def _load(channel: socket.socket, tables: list[dict[str, Any]]) -> Plugins:
    """`SystemExit` and the like are a plugin's own failure, and end only this process."""
    plugins = Plugins()
    try:
        plugins.load(tables)
        frame = encode({"op": "loaded", "workers": plugins.describe()})
    except BaseException as error:  # noqa: BLE001  # a plugin may raise anything
        fault = error if isinstance(error, PluginFailed) else PluginFailed("", error)
        channel.sendall(encode({"op": "failed", "trace": _trace(fault.cause), **fault.words()}))
        os._exit(72)
    channel.sendall(frame)
    return plugins


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))[-TRACE:].encode("utf-8", "replace").decode("utf-8")
    except Exception:  # noqa: BLE001  # a class may raise anything while its text is made
        return ""


def _fork(channel: socket.socket, files: list[int], call: Callable[[], NoReturn]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            channel.close()
            call()
        except BaseException:  # noqa: BLE001  # nothing may let the child go on as a second zygote
            traceback.print_exc()
        finally:
            os._exit(73)
    channel.sendall(encode({"op": "started", "pid": pid}))
    for fd in files:
        os.close(fd)
    _, status, usage = os.wait4(pid, 0)
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    channel.sendall(encode({"op": "ended", "status": status, "cpu": cpu, "peak": peak}))
