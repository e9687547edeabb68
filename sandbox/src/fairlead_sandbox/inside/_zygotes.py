"""The zygote that there is, if there is one: it is started, started again after it was sent away, and looked after."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from ._kernel import Identities
from ._pipes import CHUNK, Inbox
from ._start import end_zygote, introduction, start_seed, start_zygote
from ._sweep import Scheduling

__all__ = ["Zygotes"]

MAX_FRAME = 64 * 1024 * 1024
"""Bytes of what it says of its plugins."""
LAST_WORDS = 65536


class Zygotes:
    """One at a time."""

    def __init__(self, setup: Mapping[str, Any], who: Identities, *, stay: bool) -> None:
        """Gives up root. `setup`: the host's; `stay`: whether the process of a call waits for its burial."""
        self._seed = start_seed(who)
        self._introduction = introduction(setup, who, stay=stay)
        self.loaded = False
        """Whether its plugins are loaded, so that it can fork."""
        self.start()

    def start(self) -> None:
        """It begins to load the plugins. `OSError`: nothing was started."""
        self._now = start_zygote(self._seed, self._introduction)
        self.asleep = False
        self.pid, self.channel, self.stderr = self._now
        self.said = Inbox(self.channel, MAX_FRAME)
        self._words = bytearray()
        self.ours: tuple[int, ...] = (1, self._seed.pid, self.pid)
        """The processes that are no call's."""
        self._scheduling = self._scheduled()

    def end(self) -> None:
        """It goes, and what it had. `OSError`: it may still be there."""
        end_zygote(self._seed, self._now)
        self.asleep, self.loaded = True, False
        self.ours = self.ours[:2]

    def changed(self) -> bool:
        """Whether the kernel runs one of ours otherwise than at the start."""
        return self._scheduled() != self._scheduling

    def _scheduled(self) -> tuple[Scheduling, ...]:
        return tuple(Scheduling.of(pid) for pid in self.ours)

    def listen(self) -> bool:
        """Keep what its plugins complain of; False at the end of that."""
        try:
            data = os.read(self.stderr, CHUNK)
        except BlockingIOError:
            return True
        self._words += data
        del self._words[:-LAST_WORDS]
        return bool(data)

    def last_words(self) -> str:
        """What its plugins complained of last."""
        if not self.asleep:
            with contextlib.suppress(OSError):
                self.listen()
        return self._words.decode("utf-8", "replace")
