"""Plugins in processes of their own: started behind every layer that the machine has, watched, and started again.

Layers, each imported by those below it only: `_spec`, `_tree`, `_syscalls`; `_seccomp`, `_cgroup`, `_interpreter`;
`_machine`; `_bubblewrap`, `_plan`; `_orders`, `_evidence`, `_running`; `_launch`. `_shim` is imported by nobody: its
text runs in the new process.
"""

from fairlead_sandbox.process._launch import launch
from fairlead_sandbox.process._machine import Machine, available, look_at_machine
from fairlead_sandbox.process._running import PluginProcess, Running
from fairlead_sandbox.process._spec import LAYERS, ProcessLimits, ProcessSpec

__all__ = [
    "LAYERS",
    "Machine",
    "PluginProcess",
    "ProcessLimits",
    "ProcessSpec",
    "Running",
    "available",
    "launch",
    "look_at_machine",
]
