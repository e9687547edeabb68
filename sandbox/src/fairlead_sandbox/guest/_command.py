"""How the process of a plugin is started."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["guest_command"]

# The protocol keeps the two streams for itself before anything else is imported: what the plugin reads is empty, and
# what it prints goes to standard error. Descriptors from `dup` are closed in programs that the plugin starts.
# The paths come last, so that no plugin replaces a module of the standard library.
_BOOT = """\
import os, sys
read, write, null = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDWR)
os.dup2(null, 0)
os.dup2(2, 1)
os.close(null)
sys.path.extend(sys.argv[1:])
del sys.argv[1:]
from fairlead_sandbox.guest._main import main
main(read, write)
"""


def guest_command(python: str, paths: Sequence[str]) -> list[str]:
    """The command of a plugin's process: an interpreter that knows `paths` and nothing else of its environment.

    `paths`: directories of packages with the plugin, what it needs, ``fairlead-core`` and ``fairlead-sandbox``. The
    process speaks the boundary's protocol on its standard input and output; what it has to say to people is on its
    standard error. It ends when its standard input does.
    """
    return [python, "-I", "-S", "-c", _BOOT, *paths]
