"""Which providers, credentials and models may be asked now: the table of cooldowns. It has no clock and no effects."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any

from attrs import evolve

from fairlead import errors
from fairlead._events import ProviderHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fairlead._events import Cause

__all__ = ["Health", "covers", "floor_of"]

Key = tuple[str, str, "Cause"]
"""Credential, model and cause. No model: all of the credential. The cause ``outage``: all of the provider."""

Changes = list[ProviderHealth]

_DAY = 86_400.0
_GENERAL = (30.0, 60.0, 300.0)
_OUTAGE: Key = ("", "", "outage")
_OUTAGE_FAILURES = 3
"""General failures of a provider, not all of the same credential and model, after which it counts as down."""
_OUTAGE_SECONDS = 60.0
"""The time in which they happen."""
_OF_THE_REQUEST = (errors.BadRequest, errors.ContentRefused, errors.ContextOverflow)
"""They say nothing about who was asked: another question may be answered."""
_OF_THE_MODEL = (errors.RateLimited, errors.ProviderTimeout, errors.UnknownModel)
"""The credential's other models may well answer."""
_CAUSES: dict[type[Exception], Cause] = {
    errors.RateLimited: "rate_limit",
    errors.BillingFailed: "billing",
    errors.AuthenticationFailed: "auth",
}
_MAX_FLOOR = 1e8
"""Seconds; a server that asks for more is not believed."""


class Health:
    """What is known of all providers, folded from `ProviderHealth` events; each method gives the events it causes.

    An event says how one key stands from now on; without failures, that it is well again. `fits` says whether the
    mark of an event still stands for the credentials of its provider.
    """

    def __init__(self, mark: Callable[[str], str], fits: Callable[[str, str], bool]) -> None:
        self._mark, self._fits = mark, fits
        self.bad: dict[str, dict[Key, ProviderHealth]] = {}
        """By provider; one that is well is not in it."""
        self.probing: set[str] = set()
        """Providers that are down and are being asked, to see whether they still are."""
        self._recent: dict[str, deque[tuple[float, str, str]]] = {}

    @property
    def entries(self) -> list[ProviderHealth]:
        return [event for known in self.bad.values() for event in known.values()]

    def take(self, events: Iterable[ProviderHealth]) -> None:
        """Fold events in. A wrong key is forgotten where the credentials have changed since."""
        for event in events:
            known = self.bad.setdefault(event.provider, {})
            known.pop(_key(event), None)
            if event.failures and (event.cause != "auth" or self._fits(event.provider, event.mark)):
                known[_key(event)] = event
            if not known:
                del self.bad[event.provider]

    def until(self, provider: str, credential: str, model: str) -> float:
        """The moment from which it may be asked: 0 where nothing is known, infinite where it must first be mended."""
        known = self.bad.get(provider, {}).items()
        return max((_until(event) for key, event in known if _concerns(key, credential, model)), default=0.0)

    def is_down(self, provider: str) -> bool:
        """Whether the provider as a whole failed last: then one question at a time finds out how it is."""
        return _OUTAGE in self.bad.get(provider, ())

    def failed(self, provider: str, credential: str, model: str, error: BaseException, now: float) -> Changes:
        """Count a failure."""
        cause = _cause(error)
        if cause is None:
            return self._forget(provider, [_OUTAGE], now)
        key: Key = (credential, model if isinstance(error, _OF_THE_MODEL) else "", cause)
        changed = self._count(provider, key, error, now)
        if cause != "general":  # it answers, if only to say no
            return changed + self._forget(provider, [_OUTAGE], now)
        recent = self._recent.setdefault(provider, deque(maxlen=100))
        recent.append((now, credential, model))
        while recent[0][0] < now - _OUTAGE_SECONDS:
            recent.popleft()
        many = len(recent) >= _OUTAGE_FAILURES and len({who[1:] for who in recent}) > 1
        if many or self.is_down(provider):
            changed += self._count(provider, _OUTAGE, error, now)
        return changed

    def answered(self, provider: str, credential: str, model: str, now: float) -> Changes:
        """Whatever stood against this answer is over."""
        self._recent.pop(provider, None)
        return self._forget(
            provider, [key for key in self.bad.get(provider, ()) if _concerns(key, credential, model)], now
        )

    def reset(self, provider: str, now: float) -> Changes:
        """Whatever stands against a provider is over, since an operator says so."""
        return self._forget(provider, list(self.bad.get(provider, ())), now)

    def _count(self, provider: str, key: Key, error: BaseException, now: float) -> Changes:
        known = self.bad.get(provider, {}).get(key)
        floor = now + floor_of(error)
        if known is not None and _until(known) > now:
            if floor <= _until(known):
                return []  # a window is not made longer by what happens in it
            event = evolve(known, until=floor, at=now)
        else:
            (credential, model, cause), failures = key, known.failures + 1 if known is not None else 1
            who = {"provider": provider, "credential": credential, "model": model, "cause": cause}
            until = None if cause == "auth" else max(floor, now + _seconds(cause, failures))
            mark, name = self._mark(provider) if cause == "auth" else "", type(error).__name__
            event = ProviderHealth(**who, failures=failures, until=until, error=name, mark=mark, at=now)  # type: ignore[arg-type]  # see `who`
        self.bad.setdefault(provider, {})[key] = event
        return [event]

    def _forget(self, provider: str, keys: list[Key], now: float) -> Changes:
        known = self.bad.get(provider, {})
        over = [evolve(known[key], failures=0, until=None, mark="", at=now) for key in keys if key in known]
        self.take(over)
        return over


def _concerns(key: Key, credential: str, model: str) -> bool:
    return key == _OUTAGE or (key[0] == credential and key[1] in ("", model))


def covers(theirs: ProviderHealth | None, ours: ProviderHealth) -> bool:
    """Whether what another process wrote of the same key says it already, or worse."""
    if theirs is None or not (theirs.failures and ours.failures):
        return theirs is not None and not theirs.failures and not ours.failures
    return theirs.failures >= ours.failures and _until(theirs) >= _until(ours)


def _key(event: ProviderHealth) -> Key:
    return event.credential, event.model, event.cause


def _until(event: ProviderHealth) -> float:
    return inf if event.until is None else event.until


def _cause(error: BaseException) -> Cause | None:
    """Why whoever was asked shall rest; None: no reason."""
    if isinstance(error, _OF_THE_REQUEST):
        return None
    return next((cause for kind, cause in _CAUSES.items() if isinstance(error, kind)), "general")


def _seconds(cause: Cause, failures: int) -> float:
    """How long to rest after so many failures in a row."""
    doubled = 2.0 ** min(failures - 1, 20)
    if cause == "rate_limit":
        return min(30.0 * doubled, _DAY)
    if cause == "billing":
        return min(600.0 * doubled, _DAY)
    return _GENERAL[min(failures, len(_GENERAL)) - 1]


def floor_of(error: BaseException) -> float:
    """The seconds for which the provider itself asks to be left alone; 0 where it says nothing that makes sense."""
    seconds: Any = getattr(error, "reset_after", None)
    return float(seconds) if isinstance(seconds, int | float) and 0 < seconds <= _MAX_FLOOR else 0.0
