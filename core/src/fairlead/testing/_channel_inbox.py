"""The core's side of a channel under test: it can be slow, and knows what was handed in before a restart."""

from __future__ import annotations

import itertools

import trio

from fairlead._work import Inbound, Receipt
from fairlead.testing._fakes import FakeInbox

__all__ = ["KitInbox"]


class KitInbox(FakeInbox):
    """An inbox that a check holds up. `earlier`: what it had before the restart, as the journal would."""

    def __init__(self, earlier: FakeInbox | None = None) -> None:
        super().__init__()
        if earlier is not None:
            self.accepted += earlier.accepted
        self.offered: list[Inbound] = []
        """Everything that was handed in, also what was not kept."""
        self.uneven = False
        """`accept` takes longer for some messages than for others."""
        self._steps = itertools.cycle((9, 0, 3, 14, 1, 6, 0))
        self._knocked = trio.Event()
        self._open = trio.Event()
        self._open.set()

    def hold(self) -> None:
        """From now on `accept` waits."""
        self._open = trio.Event()

    def release(self) -> None:
        self._open.set()

    async def wait_knock(self) -> None:
        """Wait until something was handed in, whether or not it is kept."""
        await self._knocked.wait()

    async def accept(self, inbound: Inbound) -> Receipt:
        """As in the contract, maybe slowly."""
        self.offered.append(inbound)
        self._knocked.set()
        await self._open.wait()
        for _ in range(next(self._steps) if self.uneven else 0):
            await trio.lowlevel.checkpoint()
        return await super().accept(inbound)
