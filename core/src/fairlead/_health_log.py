"""The health of providers in the journal: it survives a restart, and other processes hear of it.

It lies in sessions of the core's own, one for each week, of which this week's and the last are read: no cooldown but
a wrong key's lasts longer, and one that nobody asked with for so long is tried again. So nothing has to be erased. A
journal that fails stops nobody: the health is then this process's own.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from fairlead._events import ProviderHealth, Record
from fairlead._health import Health, covers
from fairlead._leaf import own_fault, said
from fairlead._session import RESERVED
from fairlead._work import Finding
from fairlead.errors import VersionConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fairlead._contracts import Journal

__all__ = ["HealthLog", "moment"]

_WEEK = 7 * 86_400
_MOST = 2_000
"""Events of one week, so that a start stays quick; what happens beyond them is known to its process only."""
_TRIES = 10
_LOOK_SECONDS = 5.0
"""How old may be what is known of other processes, where something is bad."""


class HealthLog:
    """The health of an app's providers, kept in its journal."""

    def __init__(
        self,
        journal: Journal,
        settings: Mapping[str, Mapping[str, Any]],
        clock: Callable[[], float],
        publish: Callable[[Record], None],
        notice: Callable[[str, str], None],
    ) -> None:
        """`settings`: the options of each provider that the configuration names; the marks are made of them."""
        marks = _Marks(settings)
        self.health = Health(marks.of, marks.fit)
        self.clock = clock
        self._journal, self._publish, self._notice = journal, publish, notice
        self._lock = trio.Lock()
        self._week, self._version, self._looked = 0, 0, clock()

    async def load(self) -> None:
        """Fold what the journal has."""
        now = int(self._looked // _WEEK)
        try:
            for self._week in (now - 1, now):
                self._version = 0
                await self._read()
        except BaseException as error:  # noqa: BLE001  # see the module's docstring
            self._notice("models", f"the health of the providers cannot be read: {said(await own_fault(error))}")

    async def look(self) -> None:
        """Take in what other processes have written, where something is bad and it was not done just now."""
        if self.health.bad and self.clock() - self._looked >= _LOOK_SECONDS:
            self._looked = self.clock()
            async with self._lock:
                try:
                    await self._read(self._version)
                except BaseException as error:  # noqa: BLE001  # see the module's docstring
                    await own_fault(error)

    async def keep(self, events: Sequence[ProviderHealth]) -> None:
        """Journal what changed, and show it to the observers."""
        if not events:
            return
        async with self._lock:
            try:
                await self._append(events)
            except BaseException as error:  # noqa: BLE001  # see the module's docstring
                fault = said(await own_fault(error))
                self._notice("models", f"the health of {events[0].provider!r} is not journalled: {fault}")
                for event in events:
                    self._publish(Record(self._name, 0, event))

    async def reset(self, provider: str) -> Sequence[ProviderHealth]:
        """Forget all that stands against a provider; what that was."""
        before = [event for event in self.health.entries if event.provider == provider]
        await self.keep(self.health.reset(provider, self.clock()))
        return before

    def findings(self) -> list[Finding]:
        """What cools now, for ``fairlead doctor``."""
        now = self.clock()
        return [
            Finding(
                f"providers/{event.provider}",
                ok=False,
                detail=f"{_who(event)} rests after {event.failures} x {event.error}; "
                f"it is asked again {moment(inf if event.until is None else event.until, now)}",
                next_step=f"mend what failed, or type: fairlead models reset {event.provider}",
            )
            for event in self.health.entries
            if event.until is None or event.until > now
        ]

    @property
    def _name(self) -> str:
        return f"{RESERVED}models/{self._week}"

    async def _append(self, events: Sequence[ProviderHealth]) -> None:
        week = int(self.clock() // _WEEK)
        if week != self._week:
            self._week, self._version = week, 0
        for _ in range(_TRIES):
            begun = self._version
            if not events or begun >= _MOST:
                return
            if not begun:  # a week begins with all that stands
                events = [*(event for event in events if not event.failures), *self.health.entries]
            try:
                self._version = await self._journal.append(self._name, begun, events, pending=False)
            except VersionConflict:
                theirs = await self._read(begun)
                if self._version == begun:  # it has become shorter: somebody erased it
                    await self._read()
                events = [event for event in events if not covers(theirs.get(_key(event)), event)]
                self.health.take(events)
            else:
                for step, event in enumerate(events, begun + 1):
                    self._publish(Record(self._name, step, event))
                return

    async def _read(self, after: int = 0) -> dict[tuple[str, str, str, str], ProviderHealth]:
        """Take in what is new there; the last event of each key."""
        records = await self._journal.read(self._name, after)
        self._version = after + len(records)
        events = [record.event for record in records if isinstance(record.event, ProviderHealth)]
        self.health.take(events)
        return {_key(event): event for event in events}


def _key(event: ProviderHealth) -> tuple[str, str, str, str]:
    return event.provider, event.credential, event.model, event.cause


class _Marks:
    """Salted hashes of the providers' settings, secrets among them: an entry stands until they change."""

    def __init__(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self._settings, self._start = settings, os.urandom(16).hex()

    def of(self, provider: str, salt: str = "") -> str:
        """Of a provider that the host has made itself nobody knows: each start may have changed it."""
        salt, options = salt or os.urandom(16).hex(), self._settings.get(provider, self._start)
        text = json.dumps(options, default=lambda value: getattr(value, "reveal", value.__repr__)())
        return f"{salt}:{hashlib.blake2b(text.encode(), salt=bytes.fromhex(salt), digest_size=16).hexdigest()}"

    def fit(self, provider: str, mark: str) -> bool:
        return mark == self.of(provider, mark.partition(":")[0])


def moment(then: float, now: float) -> str:
    """When that is: ``in 5 minutes (12:00:30 UTC)``."""
    if then == inf:
        return "once its key is changed"
    seconds = max(1, round(then - now))
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), (1, "second"))
    count = -(-seconds // size)
    at = datetime.fromtimestamp(then, UTC)
    day = "" if at.date() == datetime.fromtimestamp(now, UTC).date() else f"{at:%Y-%m-%d} "
    return f"in {count} {unit}{'' if count == 1 else 's'} ({day}{at:%H:%M:%S} UTC)"


_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def _who(event: ProviderHealth) -> str:
    if event.cause == "outage":
        return "the whole provider"
    credential = f"the credential {event.credential!r}" if event.credential else "its only credential"
    return f"{event.model!r} with {credential}" if event.model else credential
