"""Before the first call: directories change hands, the zygote is forked, and root is given up for good."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from ._forward import variables
from ._frames import encode
from ._kernel import Identities, become_supervisor, become_zygote, forbid_privileges, hide

__all__ = ["Zygote", "identities", "move_channel", "prepare", "start_zygote"]

MAX_FILES = 1_000_000
"""Files of a workspace that change hands."""
DEFAULTS = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/tmp",  # noqa: S108  # the sandbox's own, emptied after each call
}


class Zygote(NamedTuple):
    """The process that calls are forked from."""

    pid: int
    channel: socket.socket
    stderr: int
    """Where its plugins complain."""


def move_channel() -> tuple[int, int]:
    """Standard input and output on numbers of their own, so that nothing printed gets among the frames."""
    control_in, control_out = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (0, 1))
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return control_in, control_out


def identities(setup: Mapping[str, Any]) -> Identities:
    """Those that the host names, where this process may take them on."""
    named = setup.get("identities")
    if named is None:
        return Identities(None, None, None, None)
    who = Identities(named["supervisor"], named["zygote"], named["call"], named["group"])
    if len({who.supervisor, who.zygote, who.call, 0}) != 4 or who.group == 0:  # noqa: PLR2004  # three, and root
        raise ValueError(f"expected three different users and a group, none of them root, found {who}")
    if os.geteuid() != 0:
        raise ValueError(f"found user {os.geteuid()} at the start, expected 0, to become {who.supervisor}")
    return who


def prepare(setup: Mapping[str, Any], who: Identities) -> None:
    """Give the workspace to calls and the record to the supervisor. `OSError`: a capability is missing."""
    os.umask(0o077)
    forbid_privileges()
    for directory in setup["sweep"]:
        if not os.path.ismount(directory):
            raise ValueError(f"{directory} is no mount of its own: it would not be safe to empty it")
    if who.separate:
        for directory, owner in ((setup.get("work"), who.call), (setup.get("record"), who.supervisor)):
            if directory is not None and owner is not None:
                _hand_over(directory, owner, who.group or owner)


def _hand_over(top: str, owner: int, group: int) -> None:
    """Make `owner` own a directory and all in it, its top last: one that was interrupted is begun again."""
    if os.stat(top, follow_symlinks=False).st_uid == owner:  # noqa: PTH116  # no link is followed
        return
    left = MAX_FILES
    for _, directories, files, directory in os.fwalk(top, follow_symlinks=False):
        for name in (*directories, *files):
            left -= 1
            if left < 0:
                raise OSError(f"{top} has more than {MAX_FILES} files")
            os.chown(name, owner, group, dir_fd=directory, follow_symlinks=False)
    os.chown(top, owner, group, follow_symlinks=False)
    os.chmod(top, 0o700)  # noqa: PTH101  # beside os.chown, which pathlib lacks


def start_zygote(setup: Mapping[str, Any], who: Identities, *, stay: bool) -> Zygote:
    """Fork it, and give up root. It loads the plugins only then: nothing of theirs ever runs beside root."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # before anything can be sent, or it has no sender
    reader, writer = os.pipe2(os.O_CLOEXEC)
    gc.collect()
    gc.freeze()  # a collection on either side would copy the pages that both share
    pid = os.fork()
    if pid == 0:
        _be_zygote(theirs, writer, who)
    theirs.close()
    os.close(writer)
    os.set_blocking(reader, False)
    become_supervisor(who)
    egress = setup.get("egress")
    environment = DEFAULTS | (variables() if egress else {}) | setup.get("environment", {})
    named = {"environment": environment, "egress": egress, "who": list(who), "stay": stay}
    ours.sendall(encode({"paths": setup["paths"], "plugins": setup["plugins"], **named}))
    return Zygote(pid, ours, reader)


def _be_zygote(channel: socket.socket, stderr: int, who: Identities) -> NoReturn:
    try:
        os.dup2(stderr, 1)
        os.dup2(stderr, 2)
        become_zygote(who)
        kept = channel.fileno()
        os.closerange(3, kept)
        os.closerange(kept + 1, 65536)
        from ._zygote import serve  # noqa: PLC0415  # the supervisor needs nothing of it

        serve(channel)
    except BaseException:  # noqa: BLE001  # whatever it is, this process must not go on as the supervisor's twin
        import traceback  # noqa: PLC0415  # only for last words

        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(71)


def seal(who: Identities) -> bool:
    """Whether the supervisor is hidden and without root."""
    hide()
    return not who.separate or 0 not in os.getresuid()
