"""What can go wrong between the host and code that runs outside of it.

    FairleadError
    ├── IsolationUnavailable (the core's)   it was not run
    │   ├── EngineUnavailable               no Docker Engine answers, or no bubblewrap is there
    │   └── ImageMissing                    the base image has not been built
    ├── PluginLoadError (the core's)
    │   └── PluginQuarantined               it crashed too often, and is not started until somebody revives it
    └── SandboxError                        it ran, and did not end well
        ├── Timeout                         its time was out; all its processes were killed
        ├── OutOfMemory                     the kernel killed it at its limit of memory
        ├── OutputLimit                     it wrote more than it may
        ├── PidLimit                        it made more processes than it may
        ├── Killed                          a signal ended it
        ├── SandboxLost                     the process or container is gone: whether it had an effect is unknown
        └── BoundaryBroken                  what came over the boundary is not the protocol

Each says in `next_step` what to type, where something helps.
"""

from __future__ import annotations

from attrs import define, field

from fairlead.errors import FairleadError, IsolationUnavailable, PluginLoadError

__all__ = [
    "BoundaryBroken",
    "EngineUnavailable",
    "ImageMissing",
    "Killed",
    "OutOfMemory",
    "OutputLimit",
    "PidLimit",
    "PluginQuarantined",
    "SandboxError",
    "SandboxLost",
    "Timeout",
]


class EngineUnavailable(IsolationUnavailable):
    """What would isolate the code does not answer; a fault of the machine. Nothing was run."""


class ImageMissing(IsolationUnavailable):
    """The engine answers and has no image to run. Not `EngineUnavailable`: building the image mends it."""


class PluginQuarantined(PluginLoadError):
    """The plugin crashed again and again; it is left alone until ``fairlead plugins revive``."""


@define(eq=False, slots=False)
class SandboxError(FairleadError):
    """Code ran outside the host and did not end well; its own fault, unless the subclass says otherwise."""

    last_words: str = field(default="", kw_only=True)
    """The end of what it wrote to its standard error."""


@define(eq=False, slots=False)
class Timeout(SandboxError):
    """The call took too long. All its processes are dead; an effect that it had may have happened."""

    seconds: float = field(default=0.0, kw_only=True)
    """The limit."""


@define(eq=False, slots=False)
class OutOfMemory(SandboxError):
    """The kernel killed it at its limit of memory, as the cgroup counted. Not `Killed`: there nobody ran out."""

    limit_bytes: int = field(default=0, kw_only=True)


@define(eq=False, slots=False)
class OutputLimit(SandboxError):
    """It wrote more than it may; it was killed, and what it wrote until then is kept."""

    limit_bytes: int = field(default=0, kw_only=True)


@define(eq=False, slots=False)
class PidLimit(SandboxError):
    """It could not make another process or thread, because it had as many as it may."""

    limit: int = field(default=0, kw_only=True)


@define(eq=False, slots=False)
class Killed(SandboxError):
    """A signal ended it: its own crash, or somebody's kill. Not `OutOfMemory`."""

    signal: int = field(default=0, kw_only=True)


class SandboxLost(SandboxError):
    """The process or the container went away in the middle. Whether the call had its effect is not known."""


class BoundaryBroken(SandboxError):
    """The other side sent what is not the protocol: the fault of whatever runs there. The boundary is closed."""
