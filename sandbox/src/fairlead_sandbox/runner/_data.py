"""What passes between the host and a sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from fairlead import Principal
from fairlead.errors import FairleadError
from fairlead.types import Effect

__all__ = ["Identities", "Limits", "Outcome", "Setup", "Table", "Usage", "Work"]


@frozen
class Identities:
    """The users inside, each for one role, and their one group. Never 0; from the container's own range."""

    supervisor: int
    zygote: int
    call: int
    group: int

    @classmethod
    def from_base(cls, base: int) -> Identities:
        """Three users and a group from a range's first number on."""
        return cls(base, base + 1, base + 2, base)


@frozen
class Table:
    """One table of the configuration, ``[tools.NAME]``, whose plugin runs inside."""

    name: str
    entry_point: str
    """``package.module:object``, as the distribution's metadata has it."""
    options: Mapping[str, Any] = field(factory=dict)
    """Plain JSON. A secret is ``{"$secret": handle, "source": where it is from}``, never its value."""
    profile: str = "production"
    data_dir: str = "/tmp"  # noqa: S108  # inside of the sandbox, where it is emptied after each call


@frozen
class Setup:
    """What a sandbox is told when it starts. Paths are as they are seen inside."""

    paths: Sequence[str]
    """Read-only directories of packages, in the order of ``sys.path``."""
    tables: Sequence[Table]
    identities: Identities | None = None
    """None: it does not start as root, so all roles are one user, and a call may harm the zygote (never the host)."""
    work: str | None = None
    """The workspace: where calls start. It is given to the call's user. None: calls start in ``/``."""
    record: str | None = None
    """Directory of the session's volume for what must happen once. It is given to the supervisor's user."""
    sweep: Sequence[str] = ("/tmp", "/dev/shm")  # noqa: S108  # inside of the sandbox
    """Emptied after each call; each must be a mount of its own. Name every place where calls may write."""
    egress: str | None = None
    """The socket of the way out. Calls then find a proxy on their own loopback, and variables that name it."""
    cgroup: str | None = "/sys/fs/cgroup"
    environment: Mapping[str, str] = field(factory=dict)
    """For the zygote and all calls, beside PATH, LANG and HOME."""
    keep_seconds: float = 30 * 86400.0
    """How long the record is kept."""
    rest_seconds: float = 5.0
    """Without a call, after which no process waits for the next one: it takes as much memory as the zygote."""
    sleep_seconds: float = 60.0
    """Without a call, after which the plugins are loaded no more: the next call has them loaded again, and waits."""


@frozen
class Limits:
    """Of one call. Whatever reaches one is killed, with the typed error that says so."""

    seconds: float = 60.0
    output_bytes: int = 1024 * 1024
    """Standard output and standard error together."""
    result_bytes: int = 4 * 1024 * 1024
    """The result as JSON, with the files in it (base64)."""
    memory_bytes: int | None = None
    """What the container may use, for the error's text: the cgroup enforces it."""
    address_bytes: int | None = None
    """RLIMIT_AS of each process; only where asked, many programs reserve far more than they use."""
    processes: int | None = 64
    """Processes and threads of the call's user."""
    files: int | None = 256
    """Open files of each process."""
    file_bytes: int | None = 256 * 1024 * 1024
    """The largest file that it can write."""


@frozen
class Work:
    """One call."""

    id: str
    table: str
    tool: str
    arguments: Any
    worker: int = 0
    """The worker's place in its table, from `Runner.describe`."""
    session: str = ""
    principal: Principal | None = None
    now: float = 0.0
    """Unix seconds by the app's clock."""
    effect: Effect = "once"
    recall: bool = False
    """Whether `Watch.ask` answers ``recall.*``."""
    limits: Limits = Limits()
    environment: Mapping[str, str] = field(factory=dict)
    """For this call beside the setup's; names begin with ``FAIRLEAD_`` or are well-known ones."""


@frozen
class Usage:
    """What a call used."""

    cpu_seconds: float = 0.0
    """Of all its processes; from the cgroup where that is counted."""
    peak_bytes: int = 0
    """The largest resident size of one of its processes, or a new peak of the whole sandbox."""
    wall_seconds: float = 0.0


@frozen
class Outcome:
    """What became of a call."""

    value: Any = None
    """Text, or a `ToolResult` as plain JSON: untrusted. Beside an `OutOfMemory` it may stand as well."""
    error: FairleadError | None = None
    """A `SandboxError`, or the `ToolError` that the tool raised."""
    stdout: str = ""
    """The end of what it wrote."""
    stderr: str = ""
    usage: Usage = Usage()
    repeated: bool = False
    """Answered from the record: it ran before, and not again."""
    cancelled: bool = False
