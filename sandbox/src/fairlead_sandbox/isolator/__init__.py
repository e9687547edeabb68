"""What the core asks for isolation: each plugin to its place, and workers that pass everything on to it there.

From below: `_walls` (what the configuration says), `_secrets` and `_egress` (what a plugin is given instead of secrets,
and its way out), `_volumes` (the files of sessions), `_containers` (the engine and its sandboxes), `_results` and
`_tools` (tools in sandboxes), `_guests` (whole plugins in a process or container), `_isolator`.
"""

from fairlead_sandbox.isolator._containers import PROJECT
from fairlead_sandbox.isolator._isolator import SandboxIsolator, make
from fairlead_sandbox.isolator._walls import Places, Walls

__all__ = ["PROJECT", "Places", "SandboxIsolator", "Walls", "make"]
