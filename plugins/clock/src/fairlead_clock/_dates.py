"""Dates and timezones, read from text that a model sent."""

from __future__ import annotations

import difflib
import functools
from datetime import date, timedelta
from zoneinfo import ZoneInfo, available_timezones

from fairlead.errors import ToolError

__all__ = ["parse_date", "parse_timezone"]

RELATIVE_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
ISO_CHARS = len("2027-03-01")
MAX_ZONE_CHARS = 100


def parse_date(text: str, today: date) -> date:
    """``YYYY-MM-DD``, ``yesterday``, ``today`` or ``tomorrow`` as a date. `ToolError`: it is none of these."""
    word = text.strip().lower()
    if word in RELATIVE_DAYS:
        return today + timedelta(days=RELATIVE_DAYS[word])
    # date.fromisoformat also takes 20270301 and 2027-W09-1, which are more often slips than wishes.
    if len(word) != ISO_CHARS or not word.isascii() or word[4] != "-" or word[7] != "-":
        raise ToolError(f"expected a date as YYYY-MM-DD (or today, yesterday, tomorrow), found {text[:40]!r}")
    try:
        return date.fromisoformat(word)
    except ValueError as error:
        raise ToolError(f"{word!r} is no date of the calendar: {error}") from None


def parse_timezone(name: str) -> ZoneInfo:
    """The timezone of an IANA name. `ToolError`: there is none of that name; near ones are named."""
    # A name is looked up as a file below the database: what could leave it, or is a directory there, is refused.
    try:
        if len(name) <= MAX_ZONE_CHARS and name.isascii():
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    near = _near(name[:MAX_ZONE_CHARS])
    hint = f"; near are {', '.join(near)}" if near else ""
    raise ToolError(
        f"no timezone is named {name[:40]!r}{hint}", next_step="use an IANA name such as Europe/Berlin or UTC"
    )


@functools.cache
def _zones() -> dict[str, str]:
    """City in small letters to zone, and each zone to itself."""
    zones = sorted(available_timezones())
    return {zone.rpartition("/")[2].lower(): zone for zone in zones} | {zone.lower(): zone for zone in zones}


def _near(name: str) -> list[str]:
    found = difflib.get_close_matches(name.strip().lower().replace(" ", "_"), _zones(), n=3, cutoff=0.75)
    return list(dict.fromkeys(_zones()[word] for word in found))
