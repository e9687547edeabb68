"""What the operator does with budgets, for programs that do not import this package.

All functions are synchronous, take the data directory of the app and the table's name and options first, and wait at
most 2 s for another process. What they change counts for the next request of a running gateway. Errors are of
Fairlead's tree, with a `next_step`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from fairlead import Settings
from fairlead.errors import ConfigError
from fairlead_budgets import _ledger
from fairlead_budgets._amounts import Amount, nano_of
from fairlead_budgets._audit import Audit
from fairlead_budgets._audit import audit as compare
from fairlead_budgets._errors import LedgerUnavailable, UnknownBudget
from fairlead_budgets._file import explained, open_reading, open_writing, transaction
from fairlead_budgets._options import Limit, Options, read_options
from fairlead_budgets._policy import ledger_file
from fairlead_budgets._rows import rows

if TYPE_CHECKING:
    import apsw

__all__ = [
    "Account",
    "Audit",
    "Entry",
    "LedgerUnavailable",
    "Row",
    "Table",
    "UnknownBudget",
    "accounts",
    "audit",
    "credit",
    "entries",
    "report",
    "reset",
    "set_time",
]

By = Literal["principal", "agent", "session", "channel", "conversation", "provider", "model"]
Unit = Literal["dollars", "tokens", "requests"]
_COLUMNS = ("principal", "agent", "session", "channel", "conversation", "provider", "model")
_NANO = 1e9


@frozen
class Table:
    """A table ``[policies.NAME]`` of the configuration."""

    data_dir: Path
    options: Mapping[str, Any] = {}  # read only; attrs shares the one default
    name: str = "budgets"
    clock: Callable[[], float] = time.time
    """Unix seconds."""

    @property
    def file(self) -> Path:
        """The ledger."""
        return ledger_file(self.data_dir, self.name)

    def read(self) -> Options:
        """The options, understood. `ConfigError`."""
        try:
            return read_options(Settings(self.name, self.options, self.data_dir))
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # here no schema has looked at it
            problem = f"the table is not as expected: {error}"
            raise ConfigError(problem, path=f"policies.{self.name}", next_step="fairlead doctor") from error


@frozen
class Account:
    """A budget, or the part of it that is one person's, session's and so on; money in US dollars."""

    budget: str
    scope: str
    who: str
    """Whose it is; empty for a budget of everything, ``*`` where nobody has used it yet."""
    window: str
    at_limit: str
    dollars: float | None
    """The limit; None where there is none. So `tokens` and `requests`."""
    tokens: int | None
    requests: int | None
    used_dollars: float
    used_tokens: int
    used_requests: int
    held_dollars: float
    """Reserved by requests under way."""
    held_tokens: int
    held_requests: int
    share: float
    """How much is used, of what is used most; 1.0 is all of it."""
    since: float | None
    """Unix seconds; None for never, and where it rolls."""
    renews: float | None
    """Unix seconds; where it rolls, when the first of it is free again. None: it does not."""


@frozen
class Entry:
    """A line of the ledger."""

    seq: int
    at: float
    """Unix seconds."""
    kind: str
    """``reserved``, ``settled``, ``kept`` (nobody knows what it was), ``released`` (it was nothing), ``lost`` (the
    process died), ``credited``, ``warned``, ``time``."""
    request: str
    principal: str
    session: str
    model: str
    dollars: float
    tokens: int
    reason: str


@frozen
class Row:
    """A line of a report: what was spent in all by one of them. Requests under way are not in it."""

    who: str
    requests: int
    input_tokens: int
    output_tokens: int
    dollars: float
    unknown: int
    """Requests among them of which nobody knows what they were; they are in it with the most they could be."""


def accounts(table: Table) -> tuple[Account, ...]:
    """All budgets, in the order of the configuration, with whoever has used them. `LedgerUnavailable`."""
    limits = table.read().limits
    with _reading(table) as connection:
        if connection is None:
            return tuple(_unused(limit, table.clock()) for limit in limits)
        now = _ledger.time_of(connection, table.clock())
        found: list[Account] = []
        for limit in limits:
            states = list(_ledger.accounts_of(connection, limit, now))
            found.extend(map(_account, states)) if states else found.append(_unused(limit, now))
    return tuple(found)


def entries(table: Table, budget: str, limit: int = 20) -> tuple[Entry, ...]:
    """The last entries that are about a budget, newest first. `UnknownBudget`, `LedgerUnavailable`."""
    _limit_of(table, budget)
    with _reading(table) as connection:
        if connection is None:
            return ()
        found = rows(
            connection,
            "SELECT seq, at, kind, request, principal, session, model, nano, input + output, detail "
            "FROM entries LEFT JOIN parties ON parties.id = entries.party "
            "WHERE EXISTS (SELECT 1 FROM json_each(detail, '$.charges') AS c WHERE c.value ->> 0 = ?) "
            "ORDER BY seq DESC LIMIT ?",
            (budget, limit),
        )
    return tuple(
        Entry(seq, at, kind, request, person or "", session or "", model or "", nano / _NANO, tokens, _reason(detail))
        for seq, at, kind, request, person, session, model, nano, tokens, detail in found
    )


def credit(table: Table, budget: str, amount: float, unit: Unit | None, who: str, reason: str) -> Account:
    """Give a budget room, as if so much had not been spent in this window; how it then stands.

    `unit`: None for the first that the budget limits. `who`: whose account, where each has one. `UnknownBudget`,
    `LedgerUnavailable`: nothing was changed.
    """
    limit = _limit_of(table, budget)
    key = _key(limit, who)
    given = _amount(limit, amount, unit)

    def act(connection: apsw.Connection) -> _ledger.State:
        now = _ledger.time_of(connection, table.clock())
        _ledger.credit(connection, (limit.name, key, limit.window.at(now).bucket), given, reason, now)
        return _ledger.account(connection, limit, key, now)

    return _account(_writing(table, act))


def reset(table: Table, budget: str, who: str, reason: str) -> Account:
    """Let a budget begin anew, as if nothing had been spent in this window; how it then stands.

    What requests under way have reserved stays. `who`, errors: as `credit`.
    """
    limit = _limit_of(table, budget)
    key = _key(limit, who)

    def act(connection: apsw.Connection) -> _ledger.State:
        now = _ledger.time_of(connection, table.clock())
        first = limit.window.at(now).first
        spent = "SELECT start, nano, tokens, requests FROM accounts WHERE budget = ? AND key = ? AND start >= ?"
        for start, *figures in rows(connection, spent, (limit.name, key, first)):
            _ledger.credit(connection, (limit.name, key, start), Amount(*figures), reason, now)
        return _ledger.account(connection, limit, key, now)

    return _account(_writing(table, act))


def set_time(table: Table, reason: str) -> None:
    """Let the ledger's time be the clock's, after a clock that was ahead. `LedgerUnavailable`."""
    _writing(table, lambda connection: _ledger.set_time(connection, table.clock(), reason))


def report(table: Table, by: By, since: float) -> tuple[Row, ...]:
    """What was spent since a moment (Unix seconds), the most first. `LedgerUnavailable`."""
    if by not in _COLUMNS:
        raise UnknownBudget(f"found {by!r}, expected one of {', '.join(_COLUMNS)}", next_step="--by principal")
    with _reading(table) as connection:
        if connection is None:
            return ()
        found = rows(
            connection,
            f"SELECT {by}, sum(requests), sum(input), sum(output), sum(nano) AS money, "  # noqa: S608  # of the list above
            "sum(kind IN ('kept', 'lost')) FROM entries JOIN parties ON parties.id = entries.party "
            "WHERE at >= ? AND kind IN ('settled', 'kept', 'lost') GROUP BY 1 ORDER BY money DESC, 3 DESC, 1",
            (since,),
        )
    return tuple(
        Row(who, count, sent, answered, nano / _NANO, unknown) for who, count, sent, answered, nano, unknown in found
    )


def audit(table: Table) -> Audit:
    """Count everything again, from the entries alone. `LedgerUnavailable`."""
    with _reading(table) as connection:
        return Audit(0, 0, 0, ()) if connection is None else compare(connection)


# -- the file


@contextmanager
def _reading(table: Table) -> Iterator[apsw.Connection | None]:
    connection = open_reading(table.file)
    try:
        with explained(table.file):
            yield connection
    finally:
        if connection is not None:
            connection.close()


def _writing(table: Table, act: Callable[[apsw.Connection], Any]) -> Any:
    connection = open_writing(table.file)
    try:
        with explained(table.file), transaction(connection):
            return act(connection)
    finally:
        connection.close()


# -- words into things


def _limit_of(table: Table, budget: str) -> Limit:
    limits = {limit.name: limit for limit in table.read().limits}
    if budget in limits:
        return limits[budget]
    known = ", ".join(limits) or "none"
    raise UnknownBudget(f"there is no budget {budget!r}; there are: {known}", next_step="fairlead budgets list")


def _key(limit: Limit, who: str) -> str:
    if limit.scope == "all":
        if who:
            raise UnknownBudget(f"budget {limit.name!r} is about everything together", next_step="leave out --who")
        return ""
    if not who and limit.who and "*" not in limit.who:
        return limit.who
    if not who:
        problem = f"in budget {limit.name!r} each {limit.scope} has an account"
        raise UnknownBudget(problem, next_step=f"say whose: --who {limit.scope.upper()}")
    return who


def _amount(limit: Limit, amount: float, unit: Unit | None) -> Amount:
    units: dict[str, object] = {"dollars": limit.nano, "tokens": limit.tokens, "requests": limit.requests}
    limited = [name for name, value in units.items() if value is not None]
    if unit is not None and unit not in limited:
        problem = f"budget {limit.name!r} does not limit {unit}"
        raise UnknownBudget(problem, next_step=f"--unit {limited[0]}")
    chosen = unit or limited[0]
    if chosen == "dollars":
        return Amount(nano_of(amount))
    return Amount(tokens=round(amount)) if chosen == "tokens" else Amount(requests=round(amount))


def _unused(limit: Limit, now: float) -> Account:
    span = limit.window.at(now)
    who = "" if limit.scope == "all" else limit.who
    return _account(_ledger.State(limit, who, span, Amount(), Amount(), span.bucket))


def _account(state: _ledger.State) -> Account:
    limit, used, held, span = state.limit, state.used, state.held, state.span
    rolls = limit.window.rolling and (used != Amount() or held != Amount())
    return Account(
        limit.name,
        limit.scope,
        state.key,
        limit.window.words,
        "deny" if limit.denies else "warn",
        None if limit.nano is None else limit.nano / _NANO,
        limit.tokens,
        limit.requests,
        used.nano / _NANO,
        used.tokens,
        used.requests,
        held.nano / _NANO,
        held.tokens,
        held.requests,
        limit.share(used),
        span.first if span.renews is not None else None,
        limit.window.leaves(state.oldest) if rolls else span.renews,
    )


def _reason(detail: str) -> str:
    return str(json.loads(detail).get("reason", ""))
