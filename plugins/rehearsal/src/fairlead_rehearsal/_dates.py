"""Questions about dates and the time. Each is known by its words, in any order: no word may be left over."""

from __future__ import annotations

from fairlead_rehearsal._wish import Wish, is_iso_date, word_set, words_of

__all__ = ["read_dates"]

RELATIVE = frozenset({"today", "tomorrow", "yesterday"})
ASKING = word_set("what which what's whats is was will be the a it tell me do does did please so and")
WEEKDAY = ASKING | word_set("day of week weekday on fall falls fell in for that date")
NOW = ASKING | word_set("time date day now current currently present today today's right clock exact local have you")
BETWEEN = ASKING | word_set("how many days day are there between from to until till number of difference in lie since")
COUNTING = ASKING | word_set("date day days week weeks add to in on that lies comes")
LATER = frozenset({"after", "plus", "+", "from", "later", "add"})
EARLIER = frozenset({"before", "minus", "-", "earlier", "ago", "subtract"})
MAX_DIGITS = 7
"""Of a number of days; more leave the calendar anyway."""


def read_dates(text: str) -> Wish | None:
    """A question about dates or the time, or None."""
    words = words_of(text)
    low = [word.lower() for word in words]
    dates = [word for word in low if _is_date(word)]
    rest = [word for word in low if not _is_date(word)]
    if len(dates) == 2 and set(rest) <= BETWEEN and {"days", "between", "difference"} & set(rest):  # noqa: PLR2004  # two ends
        return Wish("date_difference", text, {"start": dates[0], "end": dates[1]})
    if len(dates) <= 1 and (counted := _read_counting(text, dates, rest)) is not None:
        return counted
    if len(dates) == 1 and set(rest) <= WEEKDAY and {"day", "weekday"} & set(rest):
        return Wish("weekday", text, {"date": dates[0]})
    return _read_now(text, words, low)


def _is_date(word: str) -> bool:
    return word in RELATIVE or is_iso_date(word)


def _read_counting(text: str, dates: list[str], rest: list[str]) -> Wish | None:
    """``10 days after 2027-03-01``, ``in 2 weeks``, ``30 days ago``."""
    numbers = [word for word in rest if word.isascii() and word.isdigit() and len(word) <= MAX_DIGITS]
    others = set(rest).difference(numbers)
    later, earlier = LATER.intersection(others), EARLIER.intersection(others)
    implied = not dates and ("ago" in others or "in" in others or "now" in others)
    if len(numbers) != 1 or not (dates or implied) or bool(later or "in" in others) == bool(earlier):
        return None
    units = {"day", "days", "week", "weeks"}.intersection(others)
    if not units or not others <= COUNTING | LATER | EARLIER | {"now"}:
        return None
    days = int(numbers[0]) * (7 if units & {"week", "weeks"} else 1)
    return Wish("add_days", text, {"date": dates[0] if dates else "today", "days": -days if earlier else days})


def _read_now(text: str, words: list[str], low: list[str]) -> Wish | None:
    """As in: what time is it in Europe/Berlin?"""
    zone = ""
    if "in" in low[:-1] and low[-2] == "in":
        zone, low = words[-1], low[:-2]
    if not low or not set(low) <= NOW or not {"time", "date", "now", "today", "today's"}.intersection(low):
        return None
    return Wish("now", text, {"timezone": zone} if zone else {})
