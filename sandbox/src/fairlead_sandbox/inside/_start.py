"""Before the first call: directories change hands, the seed is forked, and root is given up for good.

The seed is a process of the zygote's user with nothing of a plugin and nothing of a call in it. Zygotes are forked from
it: the first one, and another one where that was sent away while nobody called. The supervisor could not make one
later: it has no right to any other user by then, and its memory holds what calls were told.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from ._forward import variables
from ._frames import FrameReader, encode
from ._kernel import Identities, become_supervisor, become_zygote, forbid_privileges
from ._pipes import CHUNK, receive_files, send_files

__all__ = [
    "Seed",
    "Zygote",
    "end_zygote",
    "identities",
    "introduction",
    "move_channel",
    "prepare",
    "start_seed",
    "start_zygote",
]

SEED_SECONDS = 2.0
"""In which the seed has forked or buried a zygote."""
MAX_FILES = 1_000_000
"""Files of a workspace that change hands."""
DEFAULTS = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/tmp",  # noqa: S108  # the sandbox's own, emptied after each call
}


class Seed(NamedTuple):
    """The process that zygotes are forked from."""

    pid: int
    channel: socket.socket


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


def start_seed(who: Identities) -> Seed:
    """Fork it, and give up root."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    gc.collect()
    gc.freeze()  # a collection on either side would copy the pages that both share
    pid = os.fork()
    if pid == 0:
        _alone(_be_seed, theirs, who)
    theirs.close()
    become_supervisor(who)
    ours.settimeout(SEED_SECONDS)
    return Seed(pid, ours)


def introduction(setup: Mapping[str, Any], who: Identities, *, stay: bool) -> dict[str, Any]:
    """What a zygote is told first."""
    egress = setup.get("egress")
    environment = DEFAULTS | (variables() if egress else {}) | setup.get("environment", {})
    named = {"environment": environment, "egress": egress, "who": list(who), "stay": stay}
    return {"paths": setup["paths"], "plugins": setup["plugins"], **named}


def start_zygote(seed: Seed, introduction: Mapping[str, Any]) -> Zygote:
    """It loads the plugins only when it is told to: nothing of theirs ever runs beside root. `OSError`: no seed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # before anything can be sent, or it has no sender
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        send_files(seed.channel, {"op": "start"}, [theirs.fileno(), writer])
    finally:
        theirs.close()
        os.close(writer)
    pid = _answer(seed)
    os.set_blocking(reader, False)
    ours.sendall(encode(dict(introduction)))
    return Zygote(pid, ours, reader)


def end_zygote(seed: Seed, zygote: Zygote) -> None:
    """Kill and bury it. `OSError`: the seed does not answer."""
    seed.channel.sendall(encode({"op": "end"}))
    _answer(seed)
    zygote.channel.close()
    os.close(zygote.stderr)


def _answer(seed: Seed) -> int:
    reader = FrameReader(CHUNK)
    while data := seed.channel.recv(CHUNK):
        if frames := reader.feed(data):
            return int(frames[0]["pid"])
    raise ConnectionError("the seed has ended")


def _be_seed(channel: socket.socket, who: Identities) -> None:
    """Nothing of a plugin is imported here, and no memory of a zygote is ever its own."""
    become_zygote(who)
    _close_all_but(channel.fileno())
    reader, pid = FrameReader(CHUNK), 0
    while True:
        order, files = receive_files(channel, reader)
        if order is None:
            return
        if order["op"] == "start":
            pid = os.fork()
            if pid == 0:
                _alone(_be_zygote, *files)
            for fd in files:
                os.close(fd)
        elif pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        channel.sendall(encode({"pid": pid}))


def _be_zygote(channel: int, stderr: int) -> None:
    os.dup2(stderr, 1)
    os.dup2(stderr, 2)
    _close_all_but(channel)
    from ._zygote import serve  # noqa: PLC0415  # nobody else needs anything of it

    serve(socket.socket(fileno=channel))


def _close_all_but(kept: int) -> None:
    os.closerange(3, kept)
    os.closerange(kept + 1, 65536)


def _alone(act: Callable[..., None], *arguments: Any) -> NoReturn:
    """What a forked process does. Whatever happens, it must not go on as its parent's twin."""
    try:
        act(*arguments)
    except BaseException:  # noqa: BLE001  # as above
        import traceback  # noqa: PLC0415  # only for last words

        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(71)
