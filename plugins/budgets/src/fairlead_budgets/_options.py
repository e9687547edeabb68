"""What the table ``[policies.budgets]`` says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from zoneinfo import ZoneInfo

from attrs import field, frozen

from fairlead import ModelInfo, ModelRequest, Review, Settings
from fairlead.errors import ConfigError
from fairlead_budgets._amounts import Amount, Price, nano_of
from fairlead_budgets._windows import UTC_ZONE, Window, seconds_of

__all__ = ["Limit", "Options", "Party", "Scope", "read_options"]

Scope = Literal["all", "principal", "agent", "session", "channel", "conversation", "provider", "model"]
_MONTHLY = Window()


@frozen
class Party:
    """Whom a request is charged to. Empty where it is nobody's, or from nowhere."""

    principal: str = ""
    agent: str = ""
    session: str = ""
    channel: str = ""
    conversation: str = ""
    """``CHANNEL/ROOM``."""
    provider: str = ""
    model: str = ""
    """``PROVIDER/MODEL``."""

    @classmethod
    def of(cls, review: Review) -> Party:
        """Of a request to a model."""
        assert isinstance(review.subject, ModelRequest), "only requests to models cost"
        address = review.address
        found = (
            review.principal.id if review.principal is not None else "",
            review.agent,
            review.session,
            address.channel if address is not None else "",
            f"{address.channel}/{address.conversation}" if address is not None else "",
            review.provider,
            f"{review.provider}/{review.subject.model}",
        )
        return cls(*map(_writable, found))


def _writable(text: str) -> str:
    """Half characters, which no database takes, become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


@frozen
class Limit:
    """One budget. What it does not limit is None."""

    name: str
    scope: Scope = "all"
    who: str = "*"
    nano: int | None = None
    tokens: int | None = None
    requests: int | None = None
    window: Window = _MONTHLY
    warn_at: float | None = None
    tell: bool = False
    denies: bool = True
    _pattern: re.Pattern[str] = field(init=False, eq=False, repr=False)

    @_pattern.default
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(".*".join(map(re.escape, re.split(r"\*+", self.who))), re.DOTALL)

    def key(self, party: Party) -> str | None:
        """Which of its accounts the party uses; None where the budget is not about it."""
        if self.scope == "all":
            return ""
        value: str = getattr(party, self.scope)
        return value if self._pattern.fullmatch(value) else None

    def share(self, used: Amount) -> float:
        """How much of it is used, of what is used most: 1.0 is all of it."""
        parts = ((used.nano, self.nano), (used.tokens, self.tokens), (used.requests, self.requests))
        return max(
            (have / limit if limit else float(have > 0) for have, limit in parts if limit is not None), default=0.0
        )

    def holds(self, used: Amount) -> bool:
        """Whether that much is within it."""
        parts = ((used.nano, self.nano), (used.tokens, self.tokens), (used.requests, self.requests))
        return all(limit is None or have <= limit for have, limit in parts)


@frozen
class Options:
    """The options with their defaults."""

    limits: tuple[Limit, ...] = ()
    prices: Mapping[str, Price] = field(factory=dict)
    zone: ZoneInfo = UTC_ZONE
    deny_unknown: bool = True
    output_tokens: int | None = None

    def price(self, party: Party, info: ModelInfo | None) -> Price | None:
        """Ours, else the provider's; None where nobody knows it."""
        own = self.prices.get(party.model) or self.prices.get(f"{party.provider}/*")
        return own or Price.listed(info)

    def own_price(self, party: Party) -> bool:
        """Whether the price is one of the table's."""
        return party.model in self.prices or f"{party.provider}/*" in self.prices


def read_options(settings: Settings) -> Options:
    """The options of a table, which its schema has checked. `ConfigError`: what the schema cannot see."""
    given = settings.options
    path = f"policies.{settings.name}"
    zone = _zone(given.get("timezone", "UTC"), path)
    limits = tuple(_limit(name, table, zone, path) for name, table in given.get("limits", {}).items())
    prices = {name: Price(**table) for name, table in given.get("prices", {}).items()}
    deny = given.get("unknown_price", "deny") == "deny"
    return Options(limits, prices, zone, deny, given.get("output_tokens"))


def _limit(name: str, table: Mapping[str, Any], zone: ZoneInfo, path: str) -> Limit:
    if "rolling" in table and "window" in table:
        raise ConfigError(
            f"budget {name!r} has both window and rolling",
            path=f"{path}.limits.{name}",
            next_step="keep `window` for the calendar, or `rolling` for a span of time",
        )
    if table.get("scope", "all") == "all" and "who" in table:
        raise ConfigError(
            f"budget {name!r} says who, and is about everything together",
            path=f"{path}.limits.{name}.who",
            next_step='say of what it is: scope = "principal"',
        )
    money = table.get("dollars")
    return Limit(
        name,
        table.get("scope", "all"),
        table.get("who", "*"),
        None if money is None else nano_of(money),
        table.get("tokens"),
        table.get("requests"),
        Window(table.get("window", _MONTHLY.calendar), seconds_of(table["rolling"]) if "rolling" in table else 0, zone),
        table.get("warn_at"),
        table.get("tell", False),
        table.get("at_limit", "deny") == "deny",
    )


def _zone(name: str, path: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise ConfigError(
            f"found {name!r}, expected the name of a time zone",
            path=f"{path}.timezone",
            next_step='timezone = "Europe/Berlin"',
        ) from error
