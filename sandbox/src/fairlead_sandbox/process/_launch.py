"""Starts a plugin process behind every layer that the machine has, and reads back which ones hold."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from fairlead_sandbox.errors import EngineUnavailable
from fairlead_sandbox.process._bubblewrap import bubblewrap_options
from fairlead_sandbox.process._cgroup import Cgroup, make_cgroup
from fairlead_sandbox.process._evidence import read_evidence
from fairlead_sandbox.process._machine import Machine, known_machine
from fairlead_sandbox.process._orders import write_orders
from fairlead_sandbox.process._plan import MENDING, Plan, make_plan
from fairlead_sandbox.process._running import PluginProcess, Stdio
from fairlead_sandbox.process._spec import ProcessSpec
from fairlead_sandbox.process._tree import children

__all__ = ["launch"]

SHIM = Path(__file__).with_name("_shim.py").read_text("utf-8")
START_SECONDS = 15.0
"""In which a process must have come as far as the plugin's own program."""
HOSTS = b"127.0.0.1 localhost plugin\n::1 localhost\n"
OOM_SCORE = "1000"
"""Where the machine itself runs out of memory, a plugin goes first."""
REPORT_BYTES = 65536


async def launch(spec: ProcessSpec, nursery: trio.Nursery, machine: Machine | None = None) -> PluginProcess:
    """Start a plugin process; when this returns, its own program runs, and the evidence tells behind which layers.

    `nursery`: keeps a task for as long as the process lives; cancelling it kills the process. `machine`: what
    `look_at_machine` gave; by default what it last found here. `EngineUnavailable`: a layer that the spec requires is
    not here, or one that is here did not take; nothing of the plugin was run. Cancelled: nothing is left.
    """
    plan = await trio.to_thread.run_sync(_plan, spec, machine)
    start = _Start(plan)
    process = start.spawn()
    begun = False
    try:
        nursery.start_soon(process.attend)
        with trio.fail_after(START_SECONDS):
            process.evidence = await start.instruct(process)
        _require(spec, process.evidence)
        begun = True
    except trio.TooSlowError:
        raise EngineUnavailable(
            f"the plugin process did not start within {START_SECONDS:g} s", next_step="fairlead doctor"
        ) from None
    finally:
        start.close()
        if not begun:
            await process.kill()
            with trio.CancelScope(shield=True):
                await process.stream.aclose()
    return process


def _plan(spec: ProcessSpec, machine: Machine | None) -> Plan:
    return make_plan(spec, known_machine() if machine is None else machine)


def _require(spec: ProcessSpec, evidence: Mapping[str, Any]) -> None:
    """What was promised must be what the kernel says."""
    weak = {"host", "no sockets"} if "namespaces" in spec.requires else {"host"}
    found = {**evidence, "uid": evidence["uid"] != os.getuid(), "network": evidence["network"] not in weak}
    for layer in sorted(spec.requires):
        if not found[layer]:
            raise EngineUnavailable(
                f"the layer {layer!r} did not take hold of the plugin process", next_step=MENDING[layer]
            )


@define(eq=False)
class _Start:
    """The pipes and files of one launch, from before the process is made until its program runs."""

    plan: Plan
    cgroup: Cgroup | None = None
    _ours: list[int] = field(factory=list)
    _theirs: list[int] = field(factory=list)
    _report: int = -1
    _gate: int = -1
    _info: int = -1
    _heard: bytearray = field(factory=bytearray)

    def spawn(self) -> PluginProcess:
        """Start the shim.

        In this very thread: the kernel kills a child that asked to die with its parent when the *thread* that made
        it ends (prctl(2), PR_SET_PDEATHSIG), and worker threads end after some idle seconds.
        """
        try:
            self._report, report = self._pipe()
            gate, self._gate = self._pipe(reverse=True)
            shim = ["-I", "-S", "-c", SHIM, str(report), str(gate), str(int(self.plan.kept)), str(self.plan.unshare)]
            command = [*self._wrapper(), str(self.plan.interpreter.program), *shim]
            popen = subprocess.Popen(  # noqa: S603  # bwrap, and the interpreter that the spec names
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={},
                cwd="/",
                pass_fds=self._theirs,
                start_new_session=True,
            )
        except OSError as error:
            self.close()
            raise EngineUnavailable(
                f"the plugin process cannot be started: {error}", next_step="fairlead doctor"
            ) from error
        finally:
            self._drop_theirs()
        assert popen.stdin is not None
        assert popen.stdout is not None
        assert popen.stderr is not None
        # The streams own the descriptors from here on; Popen must not close them too.
        stream = Stdio(os.dup(popen.stdout.fileno()), os.dup(popen.stdin.fileno()))
        stderr = os.dup(popen.stderr.fileno())
        handle = os.pidfd_open(popen.pid) if hasattr(os, "pidfd_open") else None
        for pipe in (popen.stdin, popen.stdout, popen.stderr):
            pipe.close()
        self.cgroup = make_cgroup(self.plan.machine.cgroups, self.plan.spec.limits)
        return PluginProcess(stream, popen, stderr, handle, self.cgroup, spec=self.plan.spec)

    def _wrapper(self) -> list[str]:
        """Bubblewrap with its options in a file that it reads: the plugin can see the command line of its init."""
        plan = self.plan
        if plan.machine.bubblewrap is None:
            return []
        self._info, info = self._pipe()
        descriptors = (info, self._file(HOSTS))
        options = bubblewrap_options(plan.spec, plan.interpreter, descriptors, own_user=plan.user is not None)
        arguments = self._file(b"".join(os.fsencode(word) + b"\0" for word in options))
        return [str(plan.machine.bubblewrap), "--args", str(arguments), "--"]

    def _pipe(self, *, reverse: bool = False) -> tuple[int, int]:
        """(reading, writing); the writing end is the process's, or with `reverse` the reading one."""
        reading, writing = os.pipe()
        ours, theirs = (writing, reading) if reverse else (reading, writing)
        self._ours.append(ours)
        self._theirs.append(theirs)
        return reading, writing

    def _file(self, content: bytes) -> int:
        made = os.memfd_create("fairlead", 0)
        self._theirs.append(made)
        os.write(made, content)
        os.lseek(made, 0, os.SEEK_SET)
        return made

    def _drop_theirs(self) -> None:
        for number in self._theirs:
            os.close(number)
        self._theirs.clear()

    def close(self) -> None:
        """Let go of what is still open."""
        self._drop_theirs()
        for number in self._ours:
            with contextlib.suppress(OSError):
                os.close(number)
        self._ours.clear()

    async def instruct(self, process: PluginProcess) -> dict[str, Any]:
        """Give the shim its orders, wait until the program runs, and read back how."""
        if self.plan.wrapped:
            await self._meet_bubblewrap(process)
        await self._expect(process, b"here")
        pid = process.pid if not self.plan.wrapped else children(process.top)[0]
        self._weigh(pid)
        os.write(self._gate, b"\n")
        if self.plan.kept:
            pid = int((await self._told(process))["child"])
            if self.plan.unshare:
                process.adopt(pid)
        os.write(self._gate, write_orders(self.plan, counted=self.cgroup is not None, pid=pid))
        self._shut(self._gate)
        told = await self._told(process)
        # The end of the file: the program has been executed, which closed the other end.
        await self._expect(process, b"")
        return read_evidence(self.plan, pid, self.cgroup, told)

    async def _meet_bubblewrap(self, process: PluginProcess) -> None:
        """Learn the pid of the first process of the new pid namespace."""
        heard = b""
        while not heard.rstrip().endswith(b"}"):
            await trio.lowlevel.wait_readable(self._info)
            if not (piece := os.read(self._info, REPORT_BYTES)):
                raise await self._failure(process, "bubblewrap refused")
            heard += piece
        process.adopt(int(json.loads(heard)["child-pid"]))

    def _weigh(self, pid: int) -> None:
        """Into its cgroup; and first to go where the machine has no memory left."""
        if self.cgroup is not None:
            try:
                self.cgroup.add(pid)
            except OSError:
                self.cgroup.remove()
                self.cgroup = None
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/oom_score_adj").write_text(OOM_SCORE, "ascii")

    async def _told(self, process: PluginProcess) -> Mapping[str, Any]:
        line = await self._line()
        told: Mapping[str, Any] = json.loads(line) if line.startswith(b"{") else {"error": "it says nothing"}
        if "error" in told:
            raise await self._failure(process, f"a layer of isolation failed: {told['error']}")
        return told

    async def _expect(self, process: PluginProcess, line: bytes) -> None:
        if (found := await self._line()) != line:
            raise await self._failure(process, f"it reported {found[:200]!r} where {line!r} was due")

    async def _line(self) -> bytes:
        """The next line of the report; empty at its end."""
        while b"\n" not in self._heard:
            await trio.lowlevel.wait_readable(self._report)
            if not (piece := os.read(self._report, REPORT_BYTES)):
                break
            self._heard += piece
        line, _, rest = bytes(self._heard).partition(b"\n")
        self._heard[:] = rest
        return line

    def _shut(self, number: int) -> None:
        self._ours.remove(number)
        os.close(number)

    async def _failure(self, process: PluginProcess, problem: str) -> EngineUnavailable:
        """With the words of whoever failed."""
        await process.kill()
        return EngineUnavailable(
            f"the plugin process could not be isolated: {problem} ({await process.wait()})", next_step="fairlead doctor"
        )
