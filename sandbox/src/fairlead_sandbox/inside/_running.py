"""One call, as the supervisor sees it: its pipes, its limits, and what in the end became of it."""

from __future__ import annotations

import codecs
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from ._cgroup import Counts
from ._frames import FrameError
from ._pipes import CHUNK, Inbox, Outbox
from ._sweep import Orphans

__all__ = ["Running"]

CANCEL_GRACE = 0.3
"""Seconds that a cancelled tool has to stop by itself."""
END_GRACE = 0.05
"""Seconds in which the first process should be gone once its result is there."""
MAX_ASKS = 16
"""Questions to the host that wait for an answer at the same time."""
SHOWN = 10_000
"""Characters of what an exception says."""
PROGRESS_CHARS = 200
_WORDS = ("class", "problem", "next_step", "trace")


class Running:
    """A call from its order to its end. Nothing here waits."""

    def __init__(self, order: Mapping[str, Any], before: Counts, tell: Callable[[dict[str, Any]], None]) -> None:
        """`tell`: sends a frame to the host."""
        self.id: str = order["id"]
        self.order = order
        self.before = before
        self.began = time.monotonic()
        self.deadline: float = self.began + order["limits"]["seconds"]
        self.reason = ""
        """Why it must be killed: ``timeout``, ``output``, ``cancelled``, ``broken``; empty while nothing is wrong."""
        self.problem = ""
        self.pid = 0
        self.result: dict[str, Any] | None = None
        self.status: int | None = None
        self.orphans = Orphans()
        self._used = Orphans()
        self._tell = tell
        self._asks: set[int] = set()
        self._cancelled = False
        self._left: int = order["limits"]["output_bytes"]
        ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.inbox = Inbox(ours, order["limits"]["result_bytes"])
        self.outbox = Outbox(ours.fileno())
        self.streams: dict[int, str] = {}
        self._writers: list[int] = []
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
        for name in self._decoders:
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
        self.outbox.send({key: self.order[key] for key in _FOR_CALL if key in self.order})

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
        if type(frame["args"]) is not dict:
            raise FrameError("the arguments of a question are no object")
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
            self._say(name, self._decoders[name].decode(kept))
        return bool(data)

    def _say(self, name: str, text: str) -> None:
        if text:
            self._tell({"op": "output", "id": self.id, "stream": name, "text": text})

    def cancel(self) -> None:
        """Ask the tool to stop; `tick` kills it where it does not."""
        if not self._cancelled and not self.reason:
            self._cancelled = True
            self.deadline = min(self.deadline, time.monotonic() + CANCEL_GRACE)
            self._send({"op": "cancel"})

    def _stop(self, reason: str, problem: str = "") -> None:
        if not self.reason:
            self.reason, self.problem = reason, problem

    def tick(self) -> bool:
        """Whether it is over, for whatever reason: it must be swept away now."""
        now = time.monotonic()
        if not self.reason and self.status is None:
            if self.result is None and now >= self.deadline:
                self._stop("cancelled" if self._cancelled else "timeout")
            elif self.result is not None or self.inbox.closed:
                self.deadline = min(self.deadline, now + END_GRACE)
                return now >= self.deadline
        return bool(self.reason) or self.status is not None

    # -- its end

    def drain(self) -> None:
        """All its processes are dead: take what is still in the pipes, and close them."""
        while self.pid and not self.inbox.closed and self.reason != "broken":
            had = self.result
            self.read_channel()
            if self.result is had:
                break
        for fd in list(self.streams):
            while self._left > 0 and self.read_stream(fd) and not self._is_empty(fd):
                pass
            name = self.streams.pop(fd)
            self._say(name, self._decoders[name].decode(b"", final=True))
            os.close(fd)
        self.inbox.socket.close()

    @staticmethod
    def _is_empty(fd: int) -> bool:
        return not select.select([fd], [], [], 0)[0]

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
        if after.cpu_seconds is not None and self.before.cpu_seconds is not None:
            cpu = max(after.cpu_seconds - self.before.cpu_seconds, 0.0)
        if after.peak_bytes is not None and after.peak_bytes > (self.before.peak_bytes or 0):
            peak = max(peak, after.peak_bytes)
        wall = time.monotonic() - self.began
        return {"cpu_seconds": round(cpu, 6), "peak_bytes": peak, "wall_seconds": round(wall, 6)}

    def _error(self, after: Counts) -> dict[str, Any] | None:
        limits, said = self.order["limits"], self.result or {}
        if self.reason == "broken":
            return {"kind": "broken", "problem": self.problem}
        if _grew(self.before.oom_kills, after.oom_kills) or said.get("cause") == "memory":
            return {"kind": "memory", "limit": limits.get("address_bytes") or limits.get("memory_bytes") or 0}
        if self.reason == "output":
            return {"kind": "output", "limit": limits["output_bytes"]}
        if said.get("op") == "result":
            return None
        if self._cancelled:
            return {"kind": "cancelled"}
        if self.reason == "timeout":
            return {"kind": "timeout", "seconds": limits["seconds"]}
        if _grew(self.before.pid_refusals, after.pid_refusals) or said.get("cause") == "pids":
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


_FOR_CALL = ("id", "tool", "table", "worker", "arguments", "session", "principal", "now", "recall", "limits")


def _grew(before: int | None, after: int | None) -> bool:
    return before is not None and after is not None and after > before


def _text(value: Any) -> str:
    if type(value) is not str:
        raise FrameError(f"expected text, found {type(value).__name__}")
    return value
