"""How our own code gets into a container: the command of PID 1, and the directory that it is in."""

from __future__ import annotations

from pathlib import Path

import fairlead_sandbox.inside
from fairlead_sandbox.container._spec import Mount

__all__ = ["SUPERVISOR", "inside_mount"]

_START = "import sys; sys.path.insert(0, '/fairlead'); from inside._supervisor import main; main()"
SUPERVISOR = ("python3", "-I", "-S", "-c", _START)
"""The command of a container whose calls `fairlead_sandbox.runner` drives."""


def inside_mount() -> Mount:
    """The directory of the code that runs in there. Its source must be among the engine's own directories."""
    return Mount(Path(fairlead_sandbox.inside.__file__).resolve().parent, "/fairlead/inside")
