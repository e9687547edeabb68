"""One call, as the supervisor sees it: its pipes, its limits, and what in the end became of it."""

from __future__ import annotations

import binascii
import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from ._cgroup import Counts
from ._frames import FrameError, encode
from ._pipes import CHUNK, Inbox, Outbox
from ._sweep import Orphans

__all__ = ["Running"]

CANCEL_GRACE = 0.3
"""Seconds that a cancelled tool has to stop by itself."""
END_GRACE = 0.05
"""Seconds in which the first process should be gone once its result is there."""
SILENT_GRACE = 0.25
"""The same for one that closed its channel without a result: how it ended says why."""
MAX_ASKS = 16
"""Questions to the host that wait for an answer at the same time."""
MAX_ASK_BYTES = 256 * 1024
SHOWN = 10_000
"""Characters of what an exception says."""
PROGRESS_CHARS = 200
_WORDS = ("class", "problem", "next_step", "trace")


class Running:
    """A call from its order to its end. Nothing here waits.

    Its process is forked before there is an order, and waits for it: no caller waits for a fork.
    """

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        """`tell`: sends a frame to the host."""
        self.id = ""
        self.order: Mapping[str, Any] = {}
        self.deadline = 0.0
        """When `tick` must be asked again at the latest; seconds of the monotonic clock."""
        self.reason = ""
        """Why it must be killed: ``timeout``, ``output``, ``cancelled``, ``broken``; empty while nothing is wrong."""
        self.problem = ""
        self.pid = 0
        self.watch: int | None = None
        """Its pidfd, where the kernel has such: it says that the first process has died before the zygote can."""
        self.gone = False
        """The pidfd says so. How it ended, only the zygote knows; of one that has given its result nobody asks."""
        self.result: dict[str, Any] | None = None
        self.status: int | None = None
        self.orphans = Orphans()
        self._before = Counts(None, None, None, None)
        self._began = 0.0
        self._limit = 0.0
        self._leaving = 0.0
        self._used = Orphans()
        self._tell = tell
        self._asks: set[int] = set()
        self._cancelled = False
        self._left = 0
        ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.inbox = Inbox(ours)
        self.outbox = Outbox(ours.fileno())
        self.streams: dict[int, str] = {}
        self._writers: list[int] = []
        for name in ("stdout", "stderr"):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(reader, False)
            self.streams[reader] = name
            self._writers.append(writer)

    @property
    def files(self) -> list[int]:
        """What the call's process is given: its end of the channel, standard output, standard error."""
        return [self._theirs.fileno(), *self._writers]

    def handed_over(self) -> None:
        """The zygote has the files: only with our copies closed do the streams end when the call does."""
        self._theirs.close()
        for fd in self._writers:
            os.close(fd)
        self._writers.clear()

    def born(self, pid: int, *, watched: bool) -> None:
        """The zygote has forked it."""
        self.pid = pid
        if watched:
            with contextlib.suppress(OSError):  # dead already, and buried: the zygote is about to say so
                self.watch = os.pidfd_open(pid)

    def begin(self, order: Mapping[str, Any], work: str, before: Counts) -> None:
        """Hand the order over. From here on the time counts."""
        self.id, self.order, self._before = order["id"], order, before
        self._began = time.monotonic()
        self.deadline = self._limit = self._began + order["limits"]["seconds"]
        self._left = order["limits"]["output_bytes"]
        self.inbox.max_bytes = order["limits"]["result_bytes"]
        self._send({"op": "call", "work": work, **{key: order[key] for key in _FOR_CALL}})

    def close(self) -> None:
        """It was never used."""
        self._unwatch()
        for fd in (*self.streams, *self._writers):
            os.close(fd)
        self.inbox.socket.close()
        self._theirs.close()

    def _unwatch(self) -> None:
        if self.watch is not None:
            os.close(self.watch)
            self.watch = None

    # -- what happens

    def ended(self, frame: Mapping[str, Any]) -> None:
        """The zygote has buried the first process."""
        self.status = int(frame["status"])
        self._used = Orphans(float(frame["cpu"]), int(frame["peak"]))

    def read_channel(self) -> None:
        """Take what the first process says."""
        if self.pid == 0 or self.reason == "broken":
            return
        try:
            for frame in self.inbox.receive(self.pid):
                self._heard(frame)
        except FrameError as error:
            self._stop("broken", error.problem)
        except (KeyError, TypeError, ValueError) as error:
            self._stop("broken", f"a message lacks what it must have: {error!r}")

    def _heard(self, frame: dict[str, Any]) -> None:
        if self.result is not None:
            raise FrameError("something came after the result")
        match frame["op"]:
            case "result" | "error":
                self.result = frame
                if self.watch is None:
                    self._send({"op": "bye"})
            case "progress":
                self._tell({"op": "progress", "id": self.id, "detail": _text(frame["detail"])[:PROGRESS_CHARS]})
            case "ask":
                self._ask(frame)
            case other:
                raise FrameError(f"expected result, error, progress or ask, found {str(other)[:80]!r}")

    def _ask(self, frame: dict[str, Any]) -> None:
        number = frame["ask"]
        if type(number) is not int or number in self._asks or len(self._asks) >= MAX_ASKS:
            raise FrameError(f"at most {MAX_ASKS} questions may wait, each with its own number")
        if type(frame["args"]) is not dict or len(encode(frame["args"])) > MAX_ASK_BYTES:
            raise FrameError(f"the arguments of a question are no object of at most {MAX_ASK_BYTES} bytes")
        self._asks.add(number)
        service, args = _text(frame["service"])[:64], frame["args"]
        self._tell({"op": "ask", "id": self.id, "ask": number, "service": service, "args": args})

    def answer(self, frame: dict[str, Any]) -> None:
        """The host has answered a question."""
        if frame["ask"] in self._asks:
            self._asks.discard(frame["ask"])
            self._send({key: frame[key] for key in ("op", "ask", "value", "error") if key in frame})

    def _send(self, frame: dict[str, Any]) -> None:
        try:
            self.outbox.send(frame)
        except OSError:
            self.inbox.closed = True

    def read_stream(self, fd: int) -> bool:
        """Pass on what was written; False at the end of the stream."""
        name = self.streams[fd]
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return True
        if data and len(data) > self._left:
            self._stop("output")
        if kept := data[: self._left]:
            self._left -= len(kept)
            # Not as text: JSON would write a flood of control characters six times as long.
            text = binascii.b2a_base64(kept, newline=False).decode("ascii")
            self._tell({"op": "output", "id": self.id, "stream": name, "data": text})
        return bool(data)

    def cancel(self) -> None:
        """Ask the tool to stop; `tick` kills it where it does not."""
        if not self._cancelled and not self.reason:
            self._cancelled = True
            self.deadline = self._limit = min(self._limit, time.monotonic() + CANCEL_GRACE)
            self._send({"op": "cancel"})

    def _stop(self, reason: str, problem: str = "") -> None:
        if not self.reason:
            self.reason, self.problem = reason, problem

    def tick(self) -> bool:
        """Whether it is over, for whatever reason: it must be swept away now."""
        if self.reason or self.status is not None or (self.gone and self.result is not None):
            return True
        now = time.monotonic()
        if self.result is None and now >= self._limit:
            self._stop("cancelled" if self._cancelled else "timeout")
        elif self.result is not None or self.inbox.closed:
            if not self._leaving:
                self._leaving = now + (END_GRACE if self.result is not None else SILENT_GRACE)
            if now < self._leaving:
                self.deadline = min(self._limit, self._leaving)
            elif self.result is not None:
                return True
            else:
                self._stop("broken", "it closed its channel before it gave a result")
        return bool(self.reason)

    # -- its end

    def drain(self) -> None:
        """All its processes are dead: take what is still in the pipes, and close them."""
        self._unwatch()
        self.inbox.idle = False
        while self.pid and not (self.inbox.closed or self.inbox.idle or self.reason == "broken"):
            self.read_channel()
        for fd in list(self.streams):
            while self.reason != "output" and select.select([fd], [], [], 0)[0] and self.read_stream(fd):
                pass
            os.close(fd)
        self.streams.clear()
        self.inbox.socket.close()

    def end(self, after: Counts) -> dict[str, Any]:
        """The frame that the host is told."""
        frame: dict[str, Any] = {"op": "end", "id": self.id, "usage": self._usage(after), "repeated": False}
        if self.result is not None and self.result["op"] == "result":
            frame["value"] = self.result["value"]
        if error := self._error(after):
            frame["error"] = error
            if error["kind"] != "memory":
                frame.pop("value", None)
        return frame

    def _usage(self, after: Counts) -> dict[str, Any]:
        cpu = self._used.cpu_seconds + self.orphans.cpu_seconds
        peak = max(self._used.peak_bytes, self.orphans.peak_bytes)
        if after.cpu_seconds is not None and self._before.cpu_seconds is not None:
            cpu = max(after.cpu_seconds - self._before.cpu_seconds, 0.0)
        if after.peak_bytes is not None and after.peak_bytes > (self._before.peak_bytes or 0):
            peak = max(peak, after.peak_bytes)
        wall = time.monotonic() - self._began
        return {"cpu_seconds": round(cpu, 6), "peak_bytes": peak, "wall_seconds": round(wall, 6)}

    def _error(self, after: Counts) -> dict[str, Any] | None:
        limits, said = self.order["limits"], self.result or {}
        if self.reason == "broken":
            return {"kind": "broken", "problem": self.problem}
        if _grew(self._before.oom_kills, after.oom_kills) or said.get("cause") == "memory":
            return {"kind": "memory", "limit": limits.get("address_bytes") or limits.get("memory_bytes") or 0}
        if self.reason == "output":
            return {"kind": "output", "limit": limits["output_bytes"]}
        if said.get("op") == "result":
            return None
        if self._cancelled:
            return {"kind": "cancelled"}
        if self.reason == "timeout":
            return {"kind": "timeout", "seconds": limits["seconds"]}
        if _grew(self._before.pid_refusals, after.pid_refusals) or said.get("cause") == "pids":
            return {"kind": "pids", "limit": limits.get("processes") or 0}
        return self._own_fault(said)

    def _own_fault(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """What it raised; or, where it gave no result, how it ended."""
        if said:
            kind = "tool" if said.get("cause") == "tool" else "failed"
            return {"kind": kind} | {key: _text(said[key])[:SHOWN] for key in _WORDS if key in said}
        if self.status is None:
            return {"kind": "killed", "signal": int(signal.SIGKILL)}
        code = os.waitstatus_to_exitcode(self.status)
        return {"kind": "killed", "signal": -code} if code < 0 else {"kind": "exited", "status": code}


_FOR_CALL = (
    "id",
    "tool",
    "table",
    "worker",
    "arguments",
    "session",
    "principal",
    "now",
    "recall",
    "limits",
    "environment",
)


def _grew(before: int | None, after: int | None) -> bool:
    return before is not None and after is not None and after > before


def _text(value: Any) -> str:
    if type(value) is not str:
        raise FrameError(f"expected text, found {type(value).__name__}")
    return value
