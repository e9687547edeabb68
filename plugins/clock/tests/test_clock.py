"""The clock's tools, on a clock that stands still."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import Settings, ToolCall
from fairlead.errors import ToolError
from fairlead.testing import FakeToolContext
from fairlead_clock import Clock
from fairlead_clock._dates import parse_date, parse_timezone
from fairlead_clock.plugin import fairlead_tools

MOMENT = 1_803_844_800.0
"""2027-02-28T20:00:00 UTC: already March in Tokyo."""


EXAMPLES: dict[str, dict[str, Any]] = {
    "now": {},
    "weekday": {"date": "2027-03-01"},
    "date_difference": {"start": "2027-01-01", "end": "2027-03-01"},
    "add_days": {"date": "2027-03-01", "days": 10},
}


async def ask(tool: str, *, timezone: str = "UTC", **arguments: Any) -> object:
    return await Clock(timezone).call(ToolCall("1", tool, arguments), FakeToolContext(clock=lambda: MOMENT))


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("now", {}, "2027-02-28T20:00:00+00:00, a Sunday (UTC)"),
        ("now", {"timezone": "Asia/Tokyo"}, "2027-03-01T05:00:00+09:00, a Monday (Asia/Tokyo)"),
        ("weekday", {"date": "2027-03-01"}, "Monday"),
        ("weekday", {"date": "Tomorrow"}, "Monday"),
        ("weekday", {"date": "yesterday"}, "Saturday"),
        ("date_difference", {"start": "2027-01-01", "end": "2027-03-01"}, "59 days"),
        ("date_difference", {"start": "2028-03-01", "end": "2028-02-28"}, "-2 days"),
        ("date_difference", {"start": "today", "end": "2027-03-01"}, "1 day"),
        ("add_days", {"date": "2027-02-20", "days": 10}, "2027-03-02, a Tuesday"),
        ("add_days", {"date": "today", "days": -28}, "2027-01-31, a Sunday"),
    ],
)
async def test_tool_gives(tool: str, arguments: dict[str, Any], expected: str) -> None:
    """The clock of the context decides what today is."""
    assert expected == await ask(tool, **arguments)


async def test_today_begins_at_midnight_of_the_configured_timezone() -> None:
    """It is Sunday in UTC and already Monday in Tokyo."""
    assert "Monday" == await ask("weekday", timezone="Asia/Tokyo", date="today")


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("weekday", {"date": "2027-02-29"}, "no date of the calendar"),
        ("weekday", {"date": "01.03.2027"}, "expected a date as YYYY-MM-DD"),
        ("weekday", {"date": "20270301"}, "expected a date as YYYY-MM-DD"),
        ("weekday", {"date": "2027-W09-1"}, "expected a date as YYYY-MM-DD"),
        ("weekday", {"date": ""}, "found ''"),
        ("add_days", {"date": "9999-12-31", "days": 1}, "leave the years 1 to 9999"),
        ("now", {"timezone": "Tokyo"}, "near are Asia/Tokyo"),
        ("now", {"timezone": "Europe/Berln"}, "near are Europe/Berlin"),
        ("now", {"timezone": "../../etc/passwd"}, "no timezone is named"),
        ("now", {"timezone": "/etc/localtime"}, "no timezone is named"),
        ("now", {"timezone": "Europe"}, "no timezone is named"),
        ("now", {"timezone": "UTC\0"}, "no timezone is named"),
        ("now", {"timezone": "x" * 10_000}, "no timezone is named"),
    ],
)
async def test_fault_is_told_to_the_model(tool: str, arguments: dict[str, Any], words: str) -> None:
    """A `ToolError` that says what was found and what was expected; no file is read by a name from outside."""
    with pytest.raises(ToolError) as caught:
        await ask(tool, **arguments)
    assert words in str(caught.value)


async def test_configured_timezone_that_does_not_exist_is_found_at_start() -> None:
    """Not at the first call."""
    (clock,) = fairlead_tools(Settings("clock", {"timezone": "Europe/Berln"}))
    with pytest.raises(ToolError, match="near are Europe/Berlin"):
        await clock.open()


@given(st.text(max_size=30))
def test_any_text_is_a_date_or_a_tool_error(text: str) -> None:
    """Whatever a model sends."""
    try:
        found = parse_date(text, date(2027, 3, 1))
    except ToolError:
        return
    assert text.strip().lower() in (found.isoformat(), "today", "yesterday", "tomorrow")


@given(
    st.text(max_size=30) | st.sampled_from(["posix/UTC", "tzdata.zi", "zone.tab", "America", "", ".", "..", "a/../UTC"])
)
def test_any_text_is_a_timezone_or_a_tool_error(text: str) -> None:
    """Also files of the database that are no timezones."""
    try:
        found = parse_timezone(text)
    except ToolError:
        return
    assert text == found.key


@given(st.dates(), st.dates())
def test_difference_added_leads_to_the_other_date(start: date, end: date) -> None:
    """The two tools agree."""
    days = (end - start).days
    assert end == parse_date(start.isoformat(), start) + timedelta(days=days)
