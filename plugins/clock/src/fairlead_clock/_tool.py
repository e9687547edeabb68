"""The four tools of the clock. They read the app's clock only, so that a session can be replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fairlead import Tool, ToolCall, ToolContext, ToolSpec
from fairlead.errors import ToolError
from fairlead_clock._dates import parse_date, parse_timezone

__all__ = ["Clock"]

MAX_DAYS = 3_652_058
"""From the first day of year 1 to the last of 9999."""


def _date(description: str) -> dict[str, Any]:
    return {"type": "string", "description": f"{description}: YYYY-MM-DD, or today, yesterday, tomorrow"}


def _spec(name: str, description: str, properties: Mapping[str, Any], required: Sequence[str]) -> ToolSpec:
    parameters = {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }
    return ToolSpec(name, description, parameters, effect="read", isolation="host", timeout=5.0)


SPECS = (
    _spec(
        "now",
        "The present date, time and day of the week.",
        {
            "timezone": {
                "type": "string",
                "description": "IANA name such as Europe/Berlin; the configured one without it",
            }
        },
        (),
    ),
    _spec("weekday", "The day of the week of a date.", {"date": _date("The date")}, ("date",)),
    _spec(
        "date_difference",
        "The number of days from one date to another; negative where the second is earlier.",
        {"start": _date("The first date"), "end": _date("The second date")},
        ("start", "end"),
    ),
    _spec(
        "add_days",
        "The date that lies some days after (or before) a date.",
        {
            "date": _date("The date to count from"),
            "days": {
                "type": "integer",
                "description": "How many days later; negative for earlier",
                "minimum": -MAX_DAYS,
                "maximum": MAX_DAYS,
            },
        },
        ("date", "days"),
    ),
)


class Clock(Tool):
    """Offers `now`, `weekday`, `date_difference` and `add_days`."""

    def __init__(self, timezone: str = "UTC") -> None:
        self._timezone = timezone
        self._tools: dict[str, Callable[[Mapping[str, Any], datetime], str]] = {
            "now": _now,
            "weekday": _weekday,
            "date_difference": _date_difference,
            "add_days": _add_days,
        }

    async def open(self) -> None:
        """Look up the configured timezone. `ToolError`: there is none of that name."""
        parse_timezone(self._timezone)

    def specs(self) -> Sequence[ToolSpec]:
        """Four tools."""
        return SPECS

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        """The answer as text, dates as YYYY-MM-DD. `ToolError`: what is wrong with a date or a timezone."""
        moment = datetime.fromtimestamp(context.now(), parse_timezone(self._timezone))
        return self._tools[call.tool](call.arguments, moment)


def _now(arguments: Mapping[str, Any], moment: datetime) -> str:
    """``2027-03-01T09:30:00+01:00, a Monday (Europe/Berlin)``."""
    if arguments.get("timezone"):
        moment = moment.astimezone(parse_timezone(arguments["timezone"]))
    zone = moment.tzinfo
    assert isinstance(zone, ZoneInfo)
    return f"{moment.isoformat(timespec='seconds')}, a {moment:%A} ({zone.key})"


def _weekday(arguments: Mapping[str, Any], moment: datetime) -> str:
    return f"{parse_date(arguments['date'], moment.date()):%A}"


def _date_difference(arguments: Mapping[str, Any], moment: datetime) -> str:
    start, end = (parse_date(arguments[key], moment.date()) for key in ("start", "end"))
    days = (end - start).days
    return f"{days} day" if abs(days) == 1 else f"{days} days"


def _add_days(arguments: Mapping[str, Any], moment: datetime) -> str:
    """``2027-03-11, a Thursday``."""
    start: date = parse_date(arguments["date"], moment.date())
    try:
        found = start + timedelta(days=arguments["days"])
    except OverflowError:
        raise ToolError(f"{arguments['days']} days from {start} leave the years 1 to 9999") from None
    return f"{found}, a {found:%A}"
