"""When budgets begin anew: by the calendar of a time zone, also where its clocks change, and step by step."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_budgets._windows import Calendar, Window, moment, seconds_of

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    BERLIN,
    ZoneInfo("UTC"),
    ZoneInfo("Australia/Lord_Howe"),
    ZoneInfo("America/New_York"),
    ZoneInfo("Asia/Beirut"),
]


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("calendar", "now", "first", "renews"),
    [
        ("hour", "2027-01-15T09:59", "2027-01-15T09:00", "2027-01-15T10:00"),
        ("day", "2027-01-15T23:59", "2027-01-15T00:00", "2027-01-16T00:00"),
        ("week", "2027-01-17T12:00", "2027-01-11T00:00", "2027-01-18T00:00"),
        ("month", "2027-12-31T23:59", "2027-12-01T00:00", "2028-01-01T00:00"),
        ("month", "2028-02-29T00:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("day", "2027-03-28T12:00", "2027-03-28T00:00", "2027-03-29T00:00"),
        ("day", "2027-10-31T12:00", "2027-10-31T00:00", "2027-11-01T00:00"),
    ],
)
def test_windows_follow_the_calendar(calendar: Calendar, now: str, first: str, renews: str) -> None:
    """Of the zone, with its days of 23 and 25 hours."""
    span = Window(calendar, zone=BERLIN).at(at(now))
    assert (at(first), at(first), at(renews)) == (span.first, span.bucket, span.renews)


def test_total_never_renews() -> None:
    """Its only window is all time."""
    span = Window("total").at(at("2027-01-15T09:59"))
    assert (0, 0, None) == (span.first, span.bucket, span.renews)


@given(st.floats(0, 4e9), st.floats(0, 1e6), st.sampled_from(ZONES), st.sampled_from(["hour", "day", "week", "month"]))
def test_time_that_goes_on_brings_no_window_back(now: float, later: float, zone: ZoneInfo, calendar: Calendar) -> None:
    """A moment lies in its window, and what was charged in a window that has ended is never in a later one."""
    window = Window(calendar, zone=zone)
    before, after = window.at(now), window.at(now + later)
    assert before.renews is not None
    assert before.first <= now
    assert now < before.renews or calendar == "hour"
    if now + later >= before.renews and calendar != "hour":
        assert before.bucket < after.first


@given(st.integers(60, 10**7), st.floats(0, 4e9), st.floats(0, 1e7))
def test_what_is_charged_counts_for_the_whole_span(rolling: int, now: float, later: float) -> None:
    """And for a sixtieth more at most, until exactly the moment that is told."""
    window = Window(rolling=rolling)
    bucket = window.at(now).bucket
    counts = bucket >= window.at(now + later).first
    assert counts or later > rolling
    assert counts == (int((now + later) // window.step) * window.step < window.leaves(bucket))
    assert window.leaves(bucket) - now <= rolling * (62 / 60) + 62


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("1m", 60)])
def test_spans_are_read_and_shown(text: str, seconds: int) -> None:
    """As they were written."""
    assert seconds == seconds_of(text)
    assert text == Window(rolling=seconds).words


@pytest.mark.parametrize("text", ["", "0h", "1.5h", "h", "1 h", "100000d", "٣h"])
def test_other_spans_are_refused(text: str) -> None:
    """With what is expected."""
    with pytest.raises(ValueError, match="such as 90m, 24h or 7d"):
        seconds_of(text)


def test_moments_are_told_in_both_times() -> None:
    """Once where they are the same."""
    assert "2027-01-16 00:00 CET (2027-01-15 23:00 UTC)" == moment(at("2027-01-16T00:00"), BERLIN)
    assert "2027-01-16 00:00 UTC" == moment(at("2027-01-16T00:00", ZoneInfo("UTC")), ZoneInfo("UTC"))
