"""A sandbox without an engine: namespaces of `unshare`, a read-only root, cgroups, and the real supervisor in it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio
from attrs import define, field

import fairlead
import fairlead_sandbox.inside
from fairlead_sandbox.runner import Identities, Runner, Setup, Table

START = "import sys; sys.path.insert(0, '/mnt/fairlead'); from inside._supervisor import main; main()"
LOOPBACK = """
import fcntl, socket
fcntl.ioctl(socket.socket(), 0x8914, b"lo".ljust(16, bytes(1)) + bytes([0x41]).ljust(24, bytes(1)))
"""
"""SIOCSIFFLAGS with IFF_UP and IFF_RUNNING (netdevice(7)): a new network namespace has its loopback down."""
PROBES = Path(__file__).parent / "inside_probes"
TABLES = (Table("probes", "probes.plugin"),)
IDENTITIES = Identities.from_base(61_000)
CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids", "cpuacct")
SEEN = {"python": "/mnt/python", "site": "/mnt/site", "core": "/mnt/core", "probes": "/mnt/probes"}
PATHS = tuple(SEEN[name] for name in ("probes", "core", "site"))

_SCRIPT = """
set -e
mount --make-rprivate /
for group in {groups}; do echo $$ > "$group/cgroup.procs"; done
mount -t tmpfs -o mode=755 tmpfs /mnt
{binds}
mount -t tmpfs -o mode=1777,nosuid,nodev,size=64m,nr_inodes=4096 tmpfs /dev/shm
mount -t tmpfs -o mode=1777,nosuid,nodev,size=64m,nr_inodes=4096 tmpfs /tmp
mount -o remount,bind,ro /
{python} -I -S -c {loopback}
cd /
exec setpriv --bounding-set=-all,+chown,+dac_override,+fowner,+setgid,+setuid --inh-caps=-all \\
    {python} -I -S -c {start}
"""


def needed() -> str:
    """What this machine lacks for such a sandbox; empty where nothing."""
    if os.geteuid() != 0:
        return "namespaces without an engine need root: sudo -E pytest sandbox"
    missing = [program for program in ("unshare", "setpriv", "mount") if shutil.which(program) is None]
    return f"apt install util-linux mount: {missing} are missing" if missing else ""


def require() -> None:
    if lack := needed():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lack)


@define
class Sandbox:
    """A running one."""

    runner: Runner
    process: trio.Process
    nursery: trio.Nursery
    """Cancelled at its end."""
    setup: Setup
    work: Path
    record: Path
    errors: list[bytes] = field(factory=list)
    killed: bool = False

    async def kill(self) -> None:
        """SIGKILL for process 1: `unshare` cannot pass its own end on, for the supervisor has changed its user."""
        self.killed = True
        pid = self.process.pid
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
        with trio.move_on_after(5):
            await self.process.wait()
        self.process.kill()
        await self.process.wait()


@contextlib.contextmanager
def cgroup(memory_bytes: int, pids: int) -> Iterator[tuple[list[Path], dict[str, Path]]]:
    """Groups of either version, and where the sandbox shall see each."""
    name = f"fairlead-test-{secrets.token_hex(4)}"
    if (CGROUPS / "cgroup.controllers").exists():
        tops = {"": CGROUPS / name}
        files = {"memory.max": memory_bytes, "memory.swap.max": 0, "pids.max": pids}
    else:
        tops = {controller: CGROUPS / controller / name for controller in CONTROLLERS}
        files = {"memory/memory.limit_in_bytes": memory_bytes, "pids/pids.max": pids}
    for top in tops.values():
        top.mkdir()
    try:
        for file, value in files.items():
            controller, _, rest = file.rpartition("/")
            with contextlib.suppress(FileNotFoundError):
                (tops[controller] / rest).write_text(str(value))
        yield list(tops.values()), {f"/mnt/cgroup/{controller}": top for controller, top in tops.items()}
    finally:
        for top in tops.values():
            with contextlib.suppress(OSError):
                top.rmdir()


def _script(groups: Sequence[Path], binds: Mapping[str, Path]) -> str:
    lines = []
    for name, source in binds.items():
        target = shlex.quote(name.rstrip("/"))
        mode = "rw" if target in ("/mnt/work", "/mnt/record") else "ro"
        lines += [f"mkdir -p {target}", f"mount --bind {shlex.quote(str(source))} {target}"]
        lines.append(f"mount -o remount,bind,nosuid,nodev,{mode} {target}")
    python = f"{SEEN['python']}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    return _SCRIPT.format(
        groups=" ".join(shlex.quote(str(group)) for group in groups),
        binds="\n".join(lines),
        python=python,
        start=shlex.quote(START),
        loopback=shlex.quote(LOOPBACK),
    )


@contextlib.asynccontextmanager
async def sandbox(  # each is one thing that a test varies
    directory: Path,
    *,
    tables: Sequence[Table] = TABLES,
    memory_bytes: int = 256 * 1024 * 1024,
    pids: int = 96,
    paths: Mapping[str, Path] | None = None,
    changes: Mapping[str, Any] | None = None,
    wrap: Callable[[Any], Any] = lambda stream: stream,
    start: bool = True,
) -> AsyncIterator[Sandbox]:
    """A sandbox with the plugins of `tables`; its workspace and record lie in `directory` and stay there."""
    require()
    binds = _binds(directory) | dict(paths or {})
    given = {"work": "/mnt/work", "record": "/mnt/record", "cgroup": "/mnt/cgroup", "identities": IDENTITIES}
    setup = Setup(**{"paths": PATHS, "tables": tables, **given, **(changes or {})})
    with cgroup(memory_bytes, pids) as (groups, seen):
        command = ["unshare", "--pid", "--fork", "--mount", "--ipc", "--net", "--mount-proc"]
        command += ["sh", "-c", _script(groups, binds | seen)]
        async with trio.open_nursery() as nursery:
            process = await trio.lowlevel.open_process(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"PATH": _PATH}
            )
            assert process.stdio is not None
            made = Sandbox(None, process, nursery, setup, binds["/mnt/work"], binds["/mnt/record"])  # type: ignore[arg-type]  # it is made from this one
            made.runner = Runner(wrap(_Attached(process.stdio)), made.kill)
            nursery.start_soon(_read_errors, process, made.errors)
            try:
                if start:
                    with trio.fail_after(30):
                        await made.runner.start(setup)
                yield made
            finally:
                with trio.CancelScope(shield=True):
                    await made.kill()
                nursery.cancel_scope.cancel()


def _binds(directory: Path) -> dict[str, Path]:
    """What lies where inside."""
    work, record = directory / "work", directory / "record"
    work.mkdir(exist_ok=True)
    record.mkdir(exist_ok=True)
    return {
        SEEN["python"]: Path(sys.base_prefix),
        SEEN["site"]: Path(sysconfig.get_paths()["purelib"]),
        SEEN["core"]: Path(fairlead.__file__).parent.parent,
        SEEN["probes"]: PROBES,
        "/mnt/fairlead/inside": Path(fairlead_sandbox.inside.__file__).parent,
        "/mnt/work": work,
        "/mnt/record": record,
    }


class _Attached:
    """A process's input and output, as the runner takes them."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send(self, item: bytes) -> None:
        try:
            await self._stream.send_all(item)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise anyio.BrokenResourceError from error

    async def receive(self, max_bytes: int = 65536) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise anyio.BrokenResourceError from error
        if not data:
            raise anyio.EndOfStream
        return data


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


async def _read_errors(process: trio.Process, errors: list[bytes]) -> None:
    assert process.stderr is not None
    errors.extend([bytes(data) async for data in process.stderr])
