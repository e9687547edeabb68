"""When a budget begins anew: at the hour, day, week or month of a time zone, step by step, or never.

A window is a span of time; what is charged in it lies in buckets, each named by the Unix second of its beginning. A
window of the calendar is one bucket. One that rolls is 60 of them and the one that is being filled: what was charged
counts for the whole span, and for a 60th of it more at most, so that no span of that length ever exceeds the limit.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from attrs import frozen

__all__ = ["UTC_ZONE", "Calendar", "Span", "Window", "moment", "seconds_of"]

UTC_ZONE = ZoneInfo("UTC")

Calendar = Literal["hour", "day", "week", "month", "total"]

_HOUR = 3600
_STEPS = 60
_UNITS = {"m": 60, "h": _HOUR, "d": 86_400}
_DECEMBER = 12


@frozen
class Span:
    """A window as it is at a moment. Unix seconds."""

    first: int
    """Buckets count from this one on."""
    bucket: int
    """What is charged now goes here."""
    renews: int | None
    """When the whole window begins anew; None for never, and for a window that rolls."""


@frozen
class Window:
    """How the span of a budget follows from the time."""

    calendar: Calendar = "month"
    rolling: int = 0
    """Seconds; 0: `calendar` counts."""
    zone: ZoneInfo = UTC_ZONE

    def at(self, now: float) -> Span:
        """The window at this moment."""
        if self.rolling:
            step = self.step
            bucket = int(now // step) * step
            return Span(bucket - _STEPS * step, bucket, None)
        if self.calendar == "total":
            return Span(0, 0, None)
        start, end = self._bounds(now)
        return Span(start, start, end)

    @property
    def step(self) -> int:
        """Seconds in which a window that rolls moves on."""
        return max(1, -(-self.rolling // _STEPS))

    def leaves(self, bucket: int) -> int:
        """When what lies in a bucket counts no longer, in a window that rolls."""
        return bucket + (_STEPS + 1) * self.step

    def _bounds(self, now: float) -> tuple[int, int]:
        local = datetime.fromtimestamp(now, self.zone)
        if self.calendar == "hour":  # by the offset, so that an hour which the clocks repeat is two
            offset = int((local.utcoffset() or timedelta()).total_seconds())
            start = int(now) - (int(now) + offset) % _HOUR
            return start, start + _HOUR
        day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if self.calendar == "day":
            return _unix(day), _unix(day + timedelta(days=1))
        if self.calendar == "week":
            monday = day - timedelta(days=day.weekday())
            return _unix(monday), _unix(monday + timedelta(days=7))
        first = day.replace(day=1)
        years, month = divmod(first.month, _DECEMBER)
        return _unix(first), _unix(first.replace(year=first.year + years, month=month + 1))

    @property
    def words(self) -> str:
        """``day``, ``24h``, ``total``."""
        if not self.rolling:
            return self.calendar
        fits = [unit for unit in ("d", "h", "m") if self.rolling % _UNITS[unit] == 0]
        unit = fits[0] if self.rolling > _UNITS["d"] else fits[fits[0] == "d"]  # 24h is what people write
        return f"{self.rolling // _UNITS[unit]}{unit}"


def _unix(local: datetime) -> int:
    return int(local.timestamp())


def seconds_of(text: str) -> int:
    """``90m``, ``24h`` or ``7d``. `ValueError`: it is none of these."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if found is None:
        raise ValueError(f"expected a time such as 90m, 24h or 7d, found {text!r}")
    return int(found[1]) * _UNITS[found[2]]


def moment(seconds: float, zone: ZoneInfo) -> str:
    """A time where the budget is kept, and in UTC: ``2027-01-16 00:00 CET (2027-01-15 23:00 UTC)``."""
    there = datetime.fromtimestamp(seconds, zone)
    utc = there.astimezone(UTC)
    if there.utcoffset() == timedelta():
        return f"{utc:%Y-%m-%d %H:%M} UTC"
    return f"{there:%Y-%m-%d %H:%M %Z} ({utc:%Y-%m-%d %H:%M} UTC)"
