"""The arguments with which bubblewrap makes the world of one plugin process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fairlead_sandbox.process._interpreter import Interpreter
from fairlead_sandbox.process._machine import ROOT_OPTIONS, USER_OPTIONS
from fairlead_sandbox.process._spec import ProcessSpec

__all__ = ["LIBRARIES", "bubblewrap_options", "system_paths"]

LIBRARIES = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/lib", "/lib32", "/lib64")
DATA = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/pki",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
)
"""What libraries look for, and what holds no secret of anybody: /etc/ssl/private is not in it."""
NETWORK_DATA = ("/etc/gai.conf", "/etc/hosts", "/etc/resolv.conf", "/etc/services")
PROGRAMS = ("/usr/bin", "/bin")
FOREIGN = ("/usr/lib/python3/dist-packages", "/usr/local/lib/python3/dist-packages")
"""Packages of the system's Python, which are not the plugin's."""
NOBODY = "65534"


def system_paths(spec: ProcessSpec) -> list[Path]:
    """What of the system a plugin reads."""
    names = [*LIBRARIES, *DATA, *(NETWORK_DATA if spec.network else ()), *(PROGRAMS if spec.subprocesses else ())]
    return [path for path in map(Path, names) if path.exists()]


def bubblewrap_options(
    spec: ProcessSpec, interpreter: Interpreter, descriptors: Sequence[int], *, own_user: bool
) -> list[str]:
    """Everything before ``--``. `descriptors`: one for bubblewrap's account of itself, one with /etc/hosts.

    The order matters: what is bound later covers what was bound before.
    """
    info, hosts = descriptors
    words = [*(ROOT_OPTIONS if own_user else USER_OPTIONS)]
    if spec.network:
        words.remove("--unshare-net")
    words += ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL", "--hostname", "plugin"]
    words += ["--info-fd", str(info)]
    if own_user:
        words += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        words += ["--uid", NOBODY, "--gid", NOBODY]
    # A directory of the host's disk and no tmpfs: without a cgroup nobody would count its memory.
    words += ["--bind", str(spec.work_dir / ".tmp"), "/tmp"]  # noqa: S108  # inside, and its own
    own = [*interpreter.read, *spec.environment.paths, spec.work_dir]
    words += _parents(
        [
            *system_paths(spec),
            Path("/etc/hosts"),
            *own,
            *([spec.egress_socket] if spec.egress_socket is not None else []),
        ]
    )
    for path in system_paths(spec):
        words += _show(path)
    for path in (*interpreter.read, *spec.environment.paths):
        words += ["--ro-bind", str(path), str(path)]
    for path in _foreign(spec, interpreter):
        words += ["--size", "4096", "--tmpfs", str(path), "--remount-ro", str(path)]
    if not spec.network:
        words += ["--perms", "0644", "--ro-bind-data", str(hosts), "/etc/hosts"]
    words += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    words += ["--bind", str(spec.work_dir), str(spec.work_dir)]
    if spec.egress_socket is not None:
        words += ["--ro-bind", str(spec.egress_socket), str(spec.egress_socket)]
    return [*words, "--remount-ro", "/", "--chdir", "/"]


def _parents(paths: Sequence[Path]) -> Iterator[str]:
    """Bubblewrap would make the directories on the way for root only, and another user could not pass."""
    for parent in dict.fromkeys(parent for path in paths for parent in reversed(path.parents[:-1])):
        yield from ("--perms", "0755", "--dir", str(parent))


def _show(path: Path) -> list[str]:
    """A link stays a link: /lib is one to usr/lib on most systems."""
    if path.is_symlink() and path.parent == Path("/"):
        return ["--symlink", str(path.readlink()), str(path)]
    return ["--ro-bind", str(path), str(path)]


def _foreign(spec: ProcessSpec, interpreter: Interpreter) -> Iterator[Path]:
    """Packages that lie within what is shown, and are none of the plugin's own."""
    shown = [*map(Path, LIBRARIES), *interpreter.read]
    for path in dict.fromkeys((*interpreter.hidden, *map(Path, FOREIGN))):
        inside = any(path.is_relative_to(place) for place in shown)
        if inside and path.is_dir() and not any(own.is_relative_to(path) for own in spec.environment.paths):
            yield path
