"""One launch, decided before anything runs: which layers it gets on this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs
from attrs import frozen

from fairlead_sandbox.errors import EngineUnavailable
from fairlead_sandbox.process._interpreter import Interpreter, find_interpreter
from fairlead_sandbox.process._machine import NEW_NET, NEW_USER, Machine
from fairlead_sandbox.process._spec import ProcessSpec

__all__ = ["Plan", "make_plan"]

USERS = range(0x7000_0000, 0x7F00_0000)
"""Above everything that systemd, Docker and /etc/subuid hand out (systemd's UIDS-GIDS.md)."""
OPEN_TO_ALL = 0o005
MENDING = {
    "bubblewrap": "sudo apt install bubblewrap (0.8 or later)",
    "cgroup": "run fairlead in a scope of its own: systemd-run --user --scope -p Delegate=yes fairlead ...",
    "landlock": "use a kernel from 5.13 on, with landlock in its boot parameter lsm=",
    "namespaces": "sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000",
    "network": "sudo apt install bubblewrap, and do not give the plugin the host's network",
    "seccomp": "use Linux on x86-64 or arm64, with a kernel built with CONFIG_SECCOMP_FILTER",
    "uid": "run fairlead as root, with its plugins where another user can read them",
}


@frozen
class Plan:
    """What is going to be done."""

    spec: ProcessSpec
    machine: Machine
    interpreter: Interpreter
    user: int | None = None
    """The user of its own that it gets; None: ours."""

    @property
    def wrapped(self) -> bool:
        """Bubblewrap makes its world."""
        return self.machine.bubblewrap is not None

    @property
    def kept(self) -> bool:
        """A parent of ours stays around it, because there is no bubblewrap."""
        return not self.wrapped and os.uname().sysname == "Linux"

    @property
    def unshare(self) -> int:
        """The flags with which the shim makes namespaces itself."""
        if self.wrapped:
            return 0
        return self.machine.unshare & ~NEW_NET if self.spec.network else self.machine.unshare

    @property
    def namespaces(self) -> frozenset[str]:
        """Those that matter to what else is done."""
        if not self.wrapped and not self.unshare:
            return frozenset()
        return frozenset({"pid"} if self.spec.network else {"pid", "net"})

    @property
    def egress(self) -> bool:
        """A forwarder in the process reaches the egress socket: it may make Unix sockets, and listen on a loopback."""
        return self.wrapped and not self.spec.network

    @property
    def counts_processes(self) -> bool:
        """RLIMIT_NPROC counts its own only: it has a user, or a namespace of users, for itself. Root is exempt."""
        own_namespace = self.wrapped or bool(self.unshare & NEW_USER)
        return self.user is not None or (own_namespace and not self.machine.root)

    def layers(self) -> frozenset[str]:
        """Those that it will have."""
        machine = self.machine
        found = {
            "bubblewrap": self.wrapped,
            "cgroup": bool(machine.cgroups),
            "landlock": machine.landlock > 0,
            "namespaces": bool(self.namespaces),
            "network": not self.spec.network and ("net" in self.namespaces or bool(machine.architecture)),
            "seccomp": bool(machine.architecture),
            "uid": self.user is not None,
        }
        return frozenset(name for name, there in found.items() if there)


def make_plan(spec: ProcessSpec, machine: Machine) -> Plan:
    """Decide, and make the directory that the process works in. Blocks.

    `EngineUnavailable`: a layer that the spec requires is not here; with the command that mends it.
    """
    interpreter = find_interpreter(spec.command[0])
    paths = tuple(path.resolve() for path in spec.environment.paths)
    spec = attrs.evolve(
        spec,
        work_dir=spec.work_dir.parent.resolve() / spec.work_dir.name,
        environment=attrs.evolve(spec.environment, paths=paths),
    )
    plan = Plan(spec, machine, interpreter)
    if machine.root and _others_can_read(plan):
        plan = attrs.evolve(plan, user=_user_of(spec.work_dir))
    if spec.egress_socket is not None and not plan.egress:
        raise EngineUnavailable(
            "a plugin process that may reach hosts needs bubblewrap: nothing else here leads it to its proxy alone",
            next_step=MENDING["bubblewrap"],
        )
    for layer in sorted(spec.requires - plan.layers()):
        raise EngineUnavailable(
            f"a plugin process must have the layer {layer!r}, and this machine cannot give it", next_step=MENDING[layer]
        )
    _make_directory(spec.work_dir, plan.user, root=machine.root)
    if plan.user is not None and spec.egress_socket is not None:
        # Connecting needs the right to write it; nobody else gets it by this.
        os.chown(spec.egress_socket, plan.user, plan.user)
    return plan


def _others_can_read(plan: Plan) -> bool:
    """Whether a user of its own would find its interpreter and its code."""
    if plan.wrapped and plan.machine.bubblewrap_as != "root":
        return False
    needed = [*plan.interpreter.read, *plan.spec.environment.paths]
    if not plan.wrapped:
        # Without a world of its own it must get there along the host's directories.
        needed += [parent for path in (*needed, plan.spec.work_dir) for parent in path.parents]
    return all(_open_to_all(path) for path in needed if path.exists())


def _open_to_all(path: Path) -> bool:
    mode = path.stat().st_mode
    wanted = OPEN_TO_ALL if stat.S_ISDIR(mode) else 0o004
    return mode & wanted == wanted


def _user_of(work_dir: Path) -> int:
    """The user that the directory has belonged to since it was first used; a new one for a new directory."""
    try:
        owner = work_dir.lstat().st_uid
    except FileNotFoundError:
        owner = 0
    return owner if owner in USERS else USERS[secrets.randbelow(len(USERS))]


def _make_directory(work_dir: Path, user: int | None, *, root: bool) -> None:
    """The plugin's directory with an empty place for temporary files, for nobody but the plugin."""
    if work_dir.is_symlink():
        raise EngineUnavailable(f"{work_dir} is a link, and must be a directory", next_step=f"rm {work_dir}")
    work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    work_dir.chmod(0o700)
    # The plugin may have put a link here: rmtree follows none.
    temporary = work_dir / ".tmp"
    if temporary.is_symlink() or temporary.is_file():
        temporary.unlink()
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(mode=0o700, exist_ok=True)
    if not root:
        return
    owner, group = (user, user) if user is not None else (os.geteuid(), os.getegid())
    for path in _everything(work_dir) if work_dir.lstat().st_uid != owner else [temporary]:
        os.chown(path, owner, group, follow_symlinks=False)


def _everything(place: Path) -> Iterator[Path]:
    """The directory and what is in it, but no file that has another name elsewhere."""
    yield place
    for directory, names, files in os.walk(place):
        yield from (Path(directory, name) for name in names)
        yield from (path for name in files if (path := Path(directory, name)).lstat().st_nlink == 1)
