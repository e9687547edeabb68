"""What a plugin process is started with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen
from attrs.validators import gt

from fairlead_sandbox.environments import Environment

__all__ = ["LAYERS", "ProcessLimits", "ProcessSpec"]

MEGABYTE = 1 << 20
LAYERS = frozenset({"bubblewrap", "cgroup", "landlock", "namespaces", "network", "seccomp", "uid"})
"""What `ProcessSpec.requires` may name; each is a key of the evidence."""
VARIABLES = re.compile(r"FAIRLEAD_[A-Z0-9_]+|(HTTP|HTTPS|ALL|NO)_PROXY|(http|https|all|no)_proxy|LANG|TZ|SSL_CERT_FILE")
"""The variables of the environment that a plugin may be given."""


@frozen
class ProcessLimits:
    """What a plugin process may use. The kernel holds it to this, but for `disk_bytes`."""

    memory_bytes: int = field(default=512 * MEGABYTE, validator=gt(0))
    """Memory that is its own. By its cgroup where the machine lets us make one, and by RLIMIT_DATA always."""
    cpu_seconds: int | None = None
    """CPU time of the process in its whole life, at the end of which it is killed; None: no limit."""
    files: int = field(default=256, validator=gt(0))
    """Open files, sockets and pipes at once."""
    file_bytes: int = field(default=64 * MEGABYTE, validator=gt(0))
    """The size of one file that it writes."""
    disk_bytes: int = field(default=1024 * MEGABYTE, validator=gt(0))
    """In its directory, and in files of it that are open and have no name. Looked at every 2 s or more seldom: there is
    no quota that works on every file system. It is killed where it has more, or more than 20,000 files."""
    processes: int = field(default=64, validator=gt(0))
    """Threads and processes at once, together."""


def _only_allowed(_instance: Any, _attribute: Any, value: Mapping[str, str]) -> None:
    for name in value:
        if not VARIABLES.fullmatch(name):
            raise ValueError(
                f"the variable {name!r} cannot be given to a plugin process: only FAIRLEAD_*, proxies, LANG, TZ and"
                " SSL_CERT_FILE can"
            )


def _layers(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


def _only_layers(_instance: Any, _attribute: Any, value: frozenset[str]) -> None:
    if unknown := value - LAYERS:
        raise ValueError(f"{sorted(unknown)} are no layers of isolation; these are: {sorted(LAYERS)}")


@frozen
class ProcessSpec:
    """A program, where its code lies, and what it may have. Paths are the same inside as outside."""

    command: Sequence[str]
    """The first word is the absolute path of a Python interpreter; its real path is what is executed."""
    environment: Environment
    """Directories that it may read, and nobody writes."""
    work_dir: Path
    """The one directory that it may write; made with mode 0700 where it is not there. Its home and where it starts."""
    limits: ProcessLimits = ProcessLimits()
    egress_socket: Path | None = None
    """A Unix socket of the host that it may connect to: its only way to the network."""
    network: bool = False
    """It shares the host's network. Weakens what isolates it to files and system calls."""
    subprocesses: bool = False
    """It may fork and execute the programs of /usr/bin; otherwise it may only start threads."""
    variables: Mapping[str, str] = field(factory=dict, validator=_only_allowed)
    """Beside PATH, LANG, HOME and TZ."""
    requires: frozenset[str] = field(default=frozenset(), converter=_layers, validator=_only_layers)
    """Layers without which it must not be started."""
