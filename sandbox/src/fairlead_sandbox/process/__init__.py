"""Plugins in processes of their own: started behind every layer that the machine has, watched, and started again.

Layers, each imported by those below it only: `_spec`, `_tree`, `_disk`, `_syscalls`; `_seccomp`, `_cgroup`,
`_interpreter`; `_machine`; `_bubblewrap`, `_plan`; `_orders`, `_evidence`, `_running`; `_launch`. Beside them:
`_record`, `_life`, `_supervisor`, which know a process only as `Running`. `_shim` is imported by nobody: its text runs
in the new process.
"""

from fairlead_sandbox.process._launch import launch
from fairlead_sandbox.process._life import Pulse
from fairlead_sandbox.process._machine import Machine, available, look_at_machine
from fairlead_sandbox.process._record import Crash, Record, read_record, read_records, revive
from fairlead_sandbox.process._running import PluginProcess, Running
from fairlead_sandbox.process._spec import LAYERS, ProcessLimits, ProcessSpec
from fairlead_sandbox.process._supervisor import Notice, Restarts, State, Supervisor

__all__ = [
    "LAYERS",
    "Crash",
    "Machine",
    "Notice",
    "PluginProcess",
    "ProcessLimits",
    "ProcessSpec",
    "Pulse",
    "Record",
    "Restarts",
    "Running",
    "State",
    "Supervisor",
    "available",
    "launch",
    "look_at_machine",
    "read_record",
    "read_records",
    "revive",
]
