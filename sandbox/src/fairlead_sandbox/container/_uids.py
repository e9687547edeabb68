"""User ids for containers: ranges that no two of them share.

The kernel counts processes, inotify watches and pending signals by user id and not by container, so two containers
with one id exhaust each other's. A range is held with an abstract Unix socket of its name: the kernel gives each name
once in the machine's network namespace, and takes it back when the process ends, however it ends.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Collection

from attrs import define, field, frozen

from fairlead_sandbox.container._spec import UidRange
from fairlead_sandbox.errors import EngineUnavailable

__all__ = ["UidSpace", "held_ranges"]

SIZE = 16
"""Ids of one container."""
TRIES = 256


@frozen
class UidSpace:
    """From where ranges are taken."""

    first: int = 1_900_000_000
    """Above what systemd gives to its containers, below what breaks programs that take ids for signed numbers
    (https://systemd.io/UIDS-GIDS/)."""
    count: int = 1 << 23
    """Ranges."""

    @classmethod
    def remapped(cls) -> UidSpace:
        """Inside a user namespace of 65,536 ids."""
        return cls(16_384, 2_048)

    def claim(self, taken: Collection[int] = ()) -> HeldRange:
        """Any free range. `taken`: first ids that are known to be in use, by containers of a process that is gone."""
        for _ in range(TRIES):
            first = self.first + secrets.randbelow(self.count) * SIZE
            if first not in taken and (held := claim_range(UidRange(first, SIZE))):
                return held
        raise EngineUnavailable(
            f"no range of user ids is free among {self.count}", next_step="fairlead sandbox gc", floor="container"
        )

    def contains(self, uids: UidRange) -> bool:
        place, rest = divmod(uids.first - self.first, SIZE)
        return uids.size == SIZE and rest == 0 and 0 <= place < self.count


@define
class HeldRange:
    """A range that is ours until `release`, or until this process ends."""

    uids: UidRange
    _socket: socket.socket = field(repr=False)

    def release(self) -> None:
        self._socket.close()


def claim_range(uids: UidRange) -> HeldRange | None:
    """This very range, or None where another container of this machine has it."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0fairlead-uids-{uids.first}")
    except OSError:
        lock.close()
        return None
    return HeldRange(uids, lock)


def held_ranges(labels: Collection[str]) -> set[int]:
    """The first ids in labels like ``1900000000+16``."""
    firsts = (label.partition("+")[0] for label in labels)
    return {int(first) for first in firsts if first.isascii() and first.isdigit()}
