"""What the core asks for isolation: each plugin to its place, and workers that pass everything on to it there.

From below: `_shelter`, `_secrets`, `_egress` (what a plugin is given instead of secrets, and its way out), `_volumes`
(the files of sessions), `_containers` (the engine and its sandboxes), `_results` and `_tools` (tools in sandboxes),
`_guests` and `_guest_tools` (whole plugins in a process or container), `_yard` (all of these together); `_promised`
and `_isolator`, which import the yard when the first plugin needs it: most apps have a tool that might be called, and
few turns call it.
"""

from fairlead_sandbox.isolator._isolator import SandboxIsolator, make

__all__ = ["SandboxIsolator", "make"]
