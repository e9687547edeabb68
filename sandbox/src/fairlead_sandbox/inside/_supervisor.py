"""PID 1: owns the channel to the host, has calls made by the zygote, ends them, and cleans up after them.

Where nobody calls, what is only there for speed goes: after seconds the process that waits for the next call, after a
minute the zygote, which the next call has started again.

Nothing of a plugin is ever imported here, and what plugins say is only passed on. The end of the channel means that
the host is gone: then this process ends at once, and the kernel kills all that is left.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import stat
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from . import _sweep
from ._cgroup import Cgroup
from ._frames import FrameError, FrameReader
from ._kernel import as_call, has_pidfd
from ._pipes import CHUNK, Outbox, send_files
from ._record import Record
from ._running import Running
from ._start import identities, move_channel, prepare
from ._zygotes import Zygotes

__all__ = ["Supervisor", "main"]

PROTOCOL = 1
MAX_FRAME = 64 * 1024 * 1024
"""Bytes of one frame from the host."""
TOO_MUCH, ENOUGH = 1024 * 1024, 256 * 1024
"""Bytes that wait for the host: from the one on nothing more is taken from a call, below the other it goes on."""
REAP_SECONDS = 0.025
"""How often the dead are buried while a call runs: each of them counts for the limit of processes."""
REST_SECONDS = 5.0
"""Without a call, after which no process waits for the next one: it takes as much memory as the zygote."""
SLEEP_SECONDS = 60.0
"""Without a call, after which the zygote goes as well."""
SWEEP_SECONDS = 2.0
ZYGOTE_SECONDS = 1.0
"""In which the zygote says that it has buried a call that was killed."""
MAX_WASTED = 3
KEEP_SECONDS = 30 * 86400.0


def main() -> NoReturn:
    """Serve the host on standard input and output until it is gone."""
    if os.getpid() != 1:
        sys.exit("fairlead: the supervisor must be process 1 of its own namespace: it kills every other process there")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # without a handler the kernel drops what is sent to process 1
    try:
        Supervisor(*move_channel()).serve()
    except (FrameError, KeyError, TypeError, ValueError, OSError, RecursionError) as error:
        sys.stderr.write(f"fairlead: the supervisor gives up: {error!r}\n")
        sys.stderr.flush()
        os._exit(70)
    os._exit(0)


class Supervisor:
    """One host, one zygote at a time, one call at a time."""

    def __init__(self, control_in: int, control_out: int) -> None:
        """`control_in`, `control_out`: the channel to the host. The first frame must be its ``setup``."""
        self._control = control_in
        self._frames = FrameReader(MAX_FRAME)
        self._out = Outbox(control_out)
        self._early: list[dict[str, Any]] = []
        setup = self._first()
        self._who = identities(setup)
        prepare(setup, self._who)
        self._sweep: list[str] = setup["sweep"]
        self._known = {setup.get("work"), setup.get("record"), *self._sweep}
        self._work: str = setup.get("work") or os.sep
        self._cgroup = Cgroup(setup.get("cgroup"))
        # What a process has used, the zygote tells later; without a cgroup that would have to be waited for.
        self._watches = has_pidfd() and self._cgroup.read().cpu_seconds is not None
        self._zygote = Zygotes(setup, self._who, stay=not self._watches)
        record = setup.get("record")
        self._record = Record(record, setup.get("keep_seconds", KEEP_SECONDS)) if record else None
        self._loaded: dict[str, Any] | None = None
        """What the first zygote said of its plugins; a later one must say the same."""
        self._ipc = _sweep.Ipc()
        self._running: Running | None = None
        self._spare: Running | None = None
        """The process that waits for the next call."""
        self._rest_seconds: float = setup.get("rest_seconds", REST_SECONDS)
        self._sleep_seconds: float = setup.get("sleep_seconds", SLEEP_SECONDS)
        self._called_at = 0.0
        """When the last call ended."""
        self._waking: dict[str, Any] | None = None
        """The order that waits until a zygote has loaded its plugins."""
        self._wake_until = 0.0
        self._unburied = 0
        """Processes that are gone or sent away, and of which the zygote has not yet said that they ended."""
        self._wasted = 0
        self._paused: dict[int, Callable[[], None]] = {}
        self._broken = ""
        self._selector = selectors.DefaultSelector()
        os.set_blocking(control_in, False)
        self._listen(control_in, self._read_control)
        self._listen_to_zygote()

    def _first(self) -> dict[str, Any]:
        """The host's setup; frames behind it wait."""
        while True:
            data = os.read(self._control, CHUNK)
            if not data:
                os._exit(0)
            if frames := self._frames.feed(data):
                setup, *self._early = frames
                if setup["op"] != "setup" or setup["protocol"] != PROTOCOL:
                    raise ValueError(f"expected a setup of protocol {PROTOCOL}")
                return setup

    def _listen_to_zygote(self) -> None:
        self._listen(self._zygote.channel.fileno(), self._read_zygote)
        self._listen(self._zygote.stderr, self._read_words)

    def _ignore_zygote(self) -> None:
        for fd in (self._zygote.channel.fileno(), self._zygote.stderr):
            if fd in self._selector.get_map():
                self._selector.unregister(fd)

    # -- the loop

    def serve(self) -> None:
        """Until the host is gone, or nothing can be promised any more."""
        while not (self._broken and not self._out.waiting):
            self._watch_out()
            for key, events in self._selector.select(self._patience()):
                if events & selectors.EVENT_WRITE:
                    self._flush(key.fd)
                if events & selectors.EVENT_READ and key.fd in self._selector.get_map():
                    key.data()
            while self._early and self._loaded is not None:
                self._told(self._early.pop(0))
            self._tick()

    def _patience(self) -> float | None:
        """Seconds until `_tick` must look again; None where it has nothing to wait for."""
        now = time.monotonic()
        if self._running is not None:
            return max(min(self._running.deadline - now, REAP_SECONDS), 0.0)
        if self._waking is not None:
            return max(self._wake_until - now, 0.0)
        if self._spare is not None:
            return max(self._called_at + self._rest_seconds - now, 0.0) if self._spare.pid else None
        if not self._zygote.loaded or self._unburied:
            return None
        return max(self._called_at + self._sleep_seconds - now, 0.0)

    def _listen(self, fd: int, act: Callable[[], None]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, act)

    def _watch_out(self) -> None:
        """Wait for whoever did not take all that was sent, and take nothing from a call while the host is slow."""
        self._want(self._out.fd, self._out.waiting > 0)
        if self._running is not None:
            self._want(self._running.outbox.fd, self._running.outbox.waiting > 0)
            if not self._paused and self._out.waiting > TOO_MUCH:
                for fd in (*self._running.streams, self._running.inbox.socket.fileno()):
                    if fd in self._selector.get_map():
                        self._paused[fd] = self._selector.unregister(fd).data
            elif self._paused and self._out.waiting < ENOUGH:
                for fd, act in self._paused.items():
                    self._listen(fd, act)
                self._paused.clear()

    def _want(self, fd: int, write: bool) -> None:  # noqa: FBT001  # the state that is wanted
        known = self._selector.get_map().get(fd)
        if known is None:
            if write:
                self._selector.register(fd, selectors.EVENT_WRITE)
        elif bool(known.events & selectors.EVENT_WRITE) != write:
            events = known.events ^ selectors.EVENT_WRITE
            if events:
                self._selector.modify(fd, events, known.data)
            else:
                self._selector.unregister(fd)

    def _flush(self, fd: int) -> None:
        if fd == self._out.fd:
            self._out.flush()  # where the host is gone, the error ends this process
        elif self._running is not None:
            try:
                self._running.outbox.flush()
            except OSError:
                self._running.inbox.closed = True

    # -- what the host says

    def _read_control(self) -> None:
        data = os.read(self._control, 16 * CHUNK)
        if not data:
            os._exit(0)
        for frame in self._frames.feed(data):
            if self._loaded is None:
                self._early.append(frame)
            else:
                self._told(frame)

    def _told(self, frame: dict[str, Any]) -> None:
        running = self._running
        match frame["op"]:
            case "describe":
                self._out.send({"op": "described", **(self._loaded or {})})
            case "call":
                self._start(frame)
            case "cancel" if self._waking is not None and self._waking["id"] == frame["id"]:
                self._not_woken({"kind": "cancelled"})
            case "cancel" if running is not None and running.id == frame["id"]:
                running.cancel()
            case "answer" if running is not None and running.id == frame["id"]:
                running.answer(frame)
            case "cancel" | "answer":
                pass  # the call had just ended
            case other:
                raise ValueError(f"the host said {other!r}")

    def _start(self, order: dict[str, Any]) -> None:
        if self._running is not None or self._waking is not None:
            raise ValueError("the host ordered a call while another one runs")
        if (self._loaded or {}).get("problem"):
            return
        if not self._zygote.loaded:
            self._wake(order)
            return
        if order["record"] and self._answered(order):
            return
        if self._spare is None:
            self._prepare()
        if self._spare is None:
            return
        self._open_work()
        running, self._spare = self._spare, None
        self._running, self._wasted = running, 0
        running.begin(order, self._work, self._cgroup.read())
        self._listen(running.inbox.socket.fileno(), running.read_channel)
        for fd in running.streams:
            self._listen(fd, partial(self._read_stream, fd))
        self._watch(running)

    def _watch(self, running: Running) -> None:
        if running.watch is not None and running.watch not in self._selector.get_map():
            self._listen(running.watch, partial(self._gone, running, running.watch))

    def _gone(self, running: Running, watch: int) -> None:
        self._selector.unregister(watch)
        running.gone = True

    def _open_work(self) -> None:
        """The workspace belongs to calls, and the last one may have locked the next one out."""
        if os.stat(self._work).st_mode & stat.S_IRWXU != stat.S_IRWXU:  # noqa: PTH116  # a name, asked at every call
            with as_call(self._who), contextlib.suppress(OSError):
                os.chmod(self._work, stat.S_IRWXU)  # noqa: PTH101  # as above

    def _prepare(self) -> None:
        """Have the process of the next call forked."""
        spare = Running(self._out.send)
        try:
            send_files(self._zygote.channel, {"op": "fork"}, spare.files)
        except OSError as error:
            spare.close()
            self._give_up(f"the zygote cannot be reached: {error}")
            return
        spare.handed_over()
        self._spare = spare
        self._called_at = time.monotonic()

    def _rest(self) -> None:
        """Nobody calls: the process that waits goes, and then the zygote."""
        if self._broken or self._patience() != 0.0:
            return
        if self._waking is not None:
            self._give_up(f"the plugins were not loaded again in {self._waking['limits']['seconds']:g} s")
        elif self._spare is not None:  # it ends by itself when its channel does
            self._spare.close()
            self._spare = None
            self._unburied += 1
        else:
            self._ignore_zygote()
            self._zygote.end()

    def _wake(self, order: dict[str, Any]) -> None:
        """Have the plugins loaded again; the order waits. A cancelled one leaves a zygote that is about to be ready."""
        self._waking, self._wake_until = order, time.monotonic() + order["limits"]["seconds"]
        if self._zygote.asleep:
            try:
                self._zygote.start()
                self._listen_to_zygote()
            except OSError as error:
                self._give_up(f"the plugins cannot be loaded again: {error}")

    def _woken(self, loaded: dict[str, Any]) -> None:
        """The plugins are there again."""
        if problem := loaded.get("problem"):
            self._broken = problem["problem"]
            self._not_woken({"kind": "load", **problem})
            return
        self._zygote.loaded = True
        self._prepare()
        order, self._waking = self._waking, None
        if order is not None:
            self._start(order)

    def _not_woken(self, error: dict[str, Any]) -> None:
        """Nothing of the call was begun."""
        order, self._waking = self._waking, None
        if order is not None:
            end = {"op": "end", "id": order["id"], "usage": {}, "repeated": False, "error": error}
            self._out.send(end | {"clean": not self._broken} | ({"dirt": self._broken} if self._broken else {}))

    def _spare_ended(self, spare: Running) -> None:
        """Nobody should have: the machine is out of memory, or a plugin's thread does what it must not."""
        spare.close()
        self._spare = None
        self._wasted += 1
        if self._wasted >= MAX_WASTED:
            raise ValueError(f"{self._wasted} processes ended before they had a call")

    def _answered(self, order: dict[str, Any]) -> bool:
        """Answer a call that was there before, or note that it starts now."""
        if self._record is None:
            return False
        what = Record.digest(order["table"], order["tool"], order["arguments"])
        end: dict[str, Any] = {"op": "end", "id": order["id"], "usage": {}, "repeated": True, "clean": True}
        try:
            started, before = self._record.find(order["id"], what)
        except ValueError as error:
            self._out.send(end | {"error": {"kind": "refused", "problem": str(error)}})
            return True
        if not started:
            try:
                self._record.start(order["id"], what)
            except OSError as error:
                problem = f"that it starts cannot be recorded: {error.strerror}"
                self._out.send(end | {"error": {"kind": "refused", "problem": problem}, "repeated": False})
                return True
            return False
        self._out.send(end | (before or {"error": {"kind": "interrupted"}}) | {"repeated": True, "clean": True})
        return True

    # -- what the zygote and the call say

    def _read_zygote(self) -> None:
        try:
            for frame in self._zygote.said.receive(self._zygote.pid):
                self._zygote_said(frame)
        except (FrameError, KeyError, TypeError, ValueError) as error:
            self._give_up(f"the zygote broke the protocol: {error}")
        if self._zygote.said.closed:
            self._give_up("the zygote has ended")

    def _zygote_said(self, frame: dict[str, Any]) -> None:
        current = self._running or self._spare
        match frame["op"]:
            case "loaded" if not self._zygote.loaded:
                self._said_loaded({"workers": frame["workers"]})
            case "failed" if not self._zygote.loaded:
                problem = {key: str(frame[key]) for key in ("table", "class", "problem", "trace")}
                self._said_loaded({"workers": [], "problem": problem})
            case "started" if current is not None and current.pid == 0:
                current.born(int(frame["pid"]), watched=self._watches)
                if current is self._running:
                    self._watch(current)
            case "ended" if self._unburied:
                self._unburied -= 1  # it says all in the order in which it happened
            case "ended" if current is not None and current.status is None:
                current.ended(frame)
                if current is self._spare:
                    self._spare_ended(current)
            case other:
                raise ValueError(f"found {str(other)[:80]!r} at the wrong time")

    def _said_loaded(self, loaded: dict[str, Any]) -> None:
        if not loaded.get("problem") and (dirt := self._clean_up(kill=bool(_sweep.others(self._zygote.ours)))):
            loaded |= {"problem": _problem(f"loading the plugins left behind what cannot be removed: {dirt}")}
        if self._loaded is not None:
            if not loaded.get("problem") and loaded["workers"] != self._loaded["workers"]:
                loaded |= {"problem": _problem("loaded again, it has other tools than at first")}
            self._woken(loaded)
            return
        self._loaded = loaded
        self._out.send({"op": "ready", "protocol": PROTOCOL, "facts": self._facts(), **loaded})
        if not loaded.get("problem"):
            self._zygote.loaded = True
            self._prepare()

    def _facts(self) -> dict[str, Any]:
        """What the host may rely on, as it is found here."""
        return {
            "python": ".".join(str(part) for part in sys.version_info[:3]),
            "separate": self._who.separate,
            "root": 0 in os.getresuid(),
            "recorded": self._record is not None,
            "writable": [mount for mount in _sweep.writable_mounts(self._who) if mount not in self._known],
            "counted": self._cgroup.read().oom_kills is not None,
        }

    def _read_words(self) -> None:
        if not self._zygote.listen():
            self._selector.unregister(self._zygote.stderr)

    def _read_stream(self, fd: int) -> None:
        if self._running is not None and not self._running.read_stream(fd):
            self._selector.unregister(fd)

    # -- the end of a call

    def _tick(self) -> None:
        running = self._running
        if running is None:
            self._rest()
            return
        running.orphans = _sweep.reap(running.orphans)
        if running.inbox.closed and running.inbox.socket.fileno() in self._selector.get_map():
            self._selector.unregister(running.inbox.socket.fileno())
        if self._broken or running.tick():
            self._finish(running)

    def _finish(self, running: Running) -> None:
        for fd in (*running.streams, running.inbox.socket.fileno(), running.watch):
            if fd is not None and fd in self._selector.get_map():
                self._selector.unregister(fd)
        self._paused.clear()
        gone = running.gone and running.result is not None
        must_kill = bool(running.reason) or not (gone or running.status is not None)
        must_kill = must_kill or bool(_sweep.others(self._zygote.ours, running.pid if gone else 0))
        if gone and running.status is None and not must_kill:
            running.status, self._unburied = 0, self._unburied + 1
        dirt = self._clean_up(kill=must_kill)
        running.drain()
        end = running.end(self._cgroup.read())
        self._running = None
        if self._record is not None and running.order["record"]:
            with contextlib.suppress(OSError):  # its disk is full, say: asked again, the end is then unknown
                self._record.end(running.id, end)
        self._broken = self._broken or dirt
        self._out.send(end | {"clean": not self._broken} | ({"dirt": self._broken} if self._broken else {}))
        if not self._broken:
            self._prepare()

    def _clean_up(self, *, kill: bool) -> str:
        """Empty text, or what is not as it was before."""
        running = self._running
        if kill:
            orphans = running.orphans if running is not None else _sweep.Orphans()
            gone, orphans = _sweep.sweep_processes(self._who, self._zygote.ours, SWEEP_SECONDS, orphans)
            if running is not None:
                running.orphans = orphans
            if not gone:
                return f"processes {_sweep.others(self._zygote.ours)[:10]} are left after {SWEEP_SECONDS:g} s"
        if running is not None and running.status is None and not self._wait_for_zygote(running):
            return self._broken or "the zygote does not say that the call has ended"
        if self._zygote.changed():
            return "the scheduling of the zygote was changed"
        return _sweep.sweep_files(self._sweep, self._who) or self._count_ipc()

    def _count_ipc(self) -> str:
        count = self._ipc.count()
        return f"{count} objects of System V or POSIX messaging are left" if count else ""

    def _wait_for_zygote(self, running: Running) -> bool:
        until = time.monotonic() + ZYGOTE_SECONDS
        while running.status is None and not self._broken and time.monotonic() < until:
            self._read_zygote()
            time.sleep(0.0001)
        return running.status is not None

    def _give_up(self, problem: str) -> None:
        """The zygote is of no more use: whatever waits is told, then this process ends."""
        if not self._zygote.asleep:
            self._ignore_zygote()
        if self._broken:
            return
        self._broken = problem
        failed = _problem(problem, self._zygote.last_words())
        if self._loaded is None:
            self._loaded = {"workers": [], "problem": failed}
            self._out.send({"op": "ready", "protocol": PROTOCOL, "facts": self._facts(), **self._loaded})
        else:
            self._not_woken({"kind": "load", **failed})


def _problem(text: str, trace: str = "") -> dict[str, str]:
    """Of no table in particular."""
    return {"table": "", "class": "", "problem": text, "trace": trace}
