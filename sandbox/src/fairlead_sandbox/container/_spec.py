"""What a container is asked to be. Whatever is not here cannot be asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from attrs import field, frozen

__all__ = ["ContainerLimits", "ContainerSpec", "Mount", "UidRange", "Workspace"]

MIB = 1024 * 1024


@frozen
class ContainerLimits:
    """How much a container may use; all of it is enforced by the kernel."""

    memory_bytes: int = 256 * MIB
    """Of everything in it together, also what lies in /tmp and /dev/shm; there is no swap."""
    cpus: float = 1.0
    """Processors' worth of time."""
    pids: int = 128
    """Processes and threads."""
    tmp_bytes: int = 64 * MIB
    """Size of /tmp."""
    shm_bytes: int = 16 * MIB
    """Size of /dev/shm."""
    inodes: int = 4096
    """Files in /tmp, and as many in /dev/shm: empty files cost the kernel's memory and no bytes of the size."""
    files: int = 512
    """Open files of a process."""
    file_bytes: int = 256 * MIB
    """The largest file that a process may write."""


@frozen
class Mount:
    """A directory or file of the host, read-only in the container."""

    source: Path
    target: str
    """Absolute."""


@frozen
class UidRange:
    """User ids that nobody else on the machine uses; the group ids are the same numbers."""

    first: int
    size: int


@frozen
class Workspace:
    """A session's files: they outlive every container that has them mounted."""

    name: str
    path: Path
    """The files, mounted at /work."""
    record: Path
    """What became of calls that must not run twice, mounted at /record; calls cannot read it."""
    quota_bytes: int
    guarantee: str
    """``hard``: a file system of that size; no write goes past it. ``checked``: measured after the fact only."""
    uids: UidRange
    """Who owns the files; a container with this workspace runs with these ids."""


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(texts)


def _mounts(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    return tuple(mounts)


@frozen
class ContainerSpec:
    """One container: the engine adds everything that isolates it."""

    image: str
    """By id: ``sha256:...``."""
    command: tuple[str, ...] = field(converter=_texts)
    """PID 1. It must end at the end of file of its standard input."""
    mounts: tuple[Mount, ...] = field(default=(), converter=_mounts)
    workspace: Workspace | None = None
    """Mounted at /work and /record, the only things of the host's that can be written."""
    egress_socket: Path | None = None
    """The proxy's socket. The directory that it lies in is mounted read-only at /egress: it holds nothing else, and
    container's users may enter it and write to the socket, while a directory above it keeps everybody else away."""
    limits: ContainerLimits = field(factory=ContainerLimits)
    supervised: bool = True
    """PID 1 is our supervisor: it begins as uid 0 with the capabilities that it names, and gives them up. Otherwise
    everything runs as the first uid of the range, without any capability from the beginning."""
    runtime: str = ""
    """A runtime that the engine knows; empty for the engine's own."""
    plugins: str = ""
    """What it was made for, for people who list containers."""
    max_age: float = 86_400.0
    """Seconds after which another instance may take it for forgotten, where it cannot tell whether ours lives."""
