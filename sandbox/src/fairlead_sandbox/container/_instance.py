"""Who made a container: a process of a machine, so that another can tell whether it still lives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from attrs import frozen

__all__ = ["Instance", "Life"]

Life = Literal["alive", "dead", "unknown"]
"""`unknown`: of another machine, or of a process namespace that we cannot look into."""
START_TIME = 19
"""The field of ``/proc/PID/stat`` behind the name that has the time of start, in ticks since boot (proc(5))."""


@frozen
class Instance:
    """A process by its number and its time of start: numbers are used again, the two together are not."""

    pid: int
    started: str
    """Ticks since boot."""
    namespace: str
    """The inode of its process namespace: a number means nothing in another one."""
    boot: str
    """The kernel's boot id: it tells one machine's boot from every other."""

    @classmethod
    def current(cls, proc: Path = Path("/proc")) -> Instance:
        """This process."""
        pid = os.getpid()
        _, started = _state(pid, proc) or ("", "0")
        return cls(pid, started, _namespace(proc), _boot(proc))

    @property
    def name(self) -> str:
        """The text of the label."""
        return f"{self.pid}-{self.started}-{self.namespace}"

    @classmethod
    def parse(cls, name: str, boot: str) -> Instance | None:
        """The reverse of `name`; None for what is no such text."""
        pid, _, rest = name.partition("-")
        started, _, namespace = rest.partition("-")
        if not (pid.isascii() and pid.isdigit() and started and namespace and boot) or len(pid) > len("4194304"):
            return None
        return cls(int(pid), started, namespace, boot)

    def life(self, proc: Path = Path("/proc")) -> Life:
        """Whether the process is still there, as far as this machine can tell."""
        if self.boot != _boot(proc) or self.namespace != _namespace(proc):
            return "unknown"
        found = _state(self.pid, proc)
        if found is not None:
            state, started = found
            return "alive" if started == self.started and state not in "ZX" else "dead"
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return "dead"
        except PermissionError:
            pass
        # Its directory is hidden from us (`hidepid`, proc(5)), and its number is in use.
        return "unknown"


def _state(pid: int, proc: Path) -> tuple[str, str] | None:
    """Its state (``Z`` is dead and not yet buried) and time of start; None where it is gone, or hidden from us."""
    try:
        text = (proc / str(pid) / "stat").read_text("ascii", "replace")
    except OSError:
        return None
    # The name in brackets may itself hold brackets and blanks.
    fields = text.rpartition(")")[2].split()
    return None if len(fields) <= START_TIME else (fields[0], fields[START_TIME])


def _namespace(proc: Path) -> str:
    try:
        return str((proc / "self/ns/pid").readlink()).strip("pid:[]")
    except OSError:
        return "0"


def _boot(proc: Path) -> str:
    try:
        return (proc / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "none"
