"""What happens in one transaction: reserve, settle, find the lost, credit. All figures are read where they are written.

A request is charged to the buckets of the moment at which it was reserved, also when it is settled after midnight. The
time never goes back: where the clock does, the time of the last entry stands until the clock has caught up, so that no
clock brings a window back that was spent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from attrs import astuple, frozen

from fairlead_budgets._amounts import NOTHING, Amount
from fairlead_budgets._options import Limit, Party
from fairlead_budgets._rows import rows, value
from fairlead_budgets._windows import Span

if TYPE_CHECKING:
    import apsw

__all__ = [
    "Ask",
    "Charge",
    "Outcome",
    "Settlement",
    "State",
    "account",
    "accounts_of",
    "credit",
    "find_lost",
    "reserve",
    "set_time",
    "settle",
    "time_of",
]

_SUMS = """
SELECT sum(nano), sum(tokens), sum(requests), sum(held_nano), sum(held_tokens), sum(held_requests),
  min(start) FILTER (WHERE nano OR tokens OR requests OR held_requests)
FROM accounts WHERE budget = ? AND key = ? AND start >= ?"""

Charge = tuple[str, str, int]
"""Budget, key and bucket."""


@frozen
class Ask:
    """The most that a request can be."""

    request: str
    party: Party
    nano: int
    input: int
    output: int

    @property
    def amount(self) -> Amount:
        return Amount(self.nano, self.input + self.output, 1)


@frozen
class Settlement:
    """What it was. All zero: nothing happened."""

    nano: int
    input: int
    output: int


@frozen
class State:
    """An account of a budget at a moment."""

    limit: Limit
    key: str
    span: Span
    used: Amount
    held: Amount
    """Reserved by requests under way."""
    oldest: int
    """The first bucket that has something in it."""


@frozen
class Outcome:
    """What became of an `Ask`."""

    over: State | None = None
    """The budget into which it does not fit; None: it is reserved."""
    warned: tuple[State, ...] = ()
    """Budgets of which somebody should now be told, once in each window."""


def time_of(connection: apsw.Connection, clock: float) -> float:
    """The ledger's time: the clock's, or the last entry's where the clock is behind."""
    last = value(connection, "SELECT at FROM entries ORDER BY seq DESC LIMIT 1")
    return clock if last is None else max(clock, last)


def account(connection: apsw.Connection, limit: Limit, key: str, now: float) -> State:
    """How an account stands."""
    span = limit.window.at(now)
    (row,) = rows(connection, _SUMS, (limit.name, key, span.first))
    if row[0] is None:
        return State(limit, key, span, NOTHING, NOTHING, span.bucket)
    return State(limit, key, span, Amount(*row[:3]), Amount(*row[3:6]), row[6] or span.bucket)


def reserve(connection: apsw.Connection, limits: Sequence[Limit], process: int, ask: Ask, clock: float) -> Outcome:
    """Charge a request to all budgets that it is about, or to none. The same request twice is charged once.

    One that several people have asked for comes once for each: it is charged to the budgets of all of them.
    """
    now = time_of(connection, clock)
    before = _held(connection, ask.request)
    found = [(limit, key) for limit in limits if (key := limit.key(ask.party)) is not None]
    if before is not None:
        charged = {(budget, key) for budget, key, _ in before.charges}
        known = charged.issuperset((limit.name, key) for limit, key in found)
        if known and (before.nano, before.input, before.output) == (ask.nano, ask.input, ask.output):
            return Outcome()
        _charge(connection, before.charges, held=-before.amount)  # it was revised, or has one author more
        others = charged.difference((limit.name, key) for limit, key in found)
        found += [(limit, key) for limit in limits for budget, key in sorted(others) if budget == limit.name]
    states = [account(connection, limit, key, now) for limit, key in found]
    over = [state for state in states if not state.limit.holds(state.used + state.held + ask.amount)]
    refusing = [state for state in over if state.limit.denies]
    if refusing:
        if before is not None:
            _charge(connection, before.charges, held=before.amount)
            _end(connection, "released", before, Settlement(0, 0, 0), 0, now)
        return Outcome(max(refusing, key=_renewal))
    charges: list[Charge] = [(state.limit.name, state.key, state.span.bucket) for state in states]
    figures = (ask.nano, ask.input, ask.output, 1)
    party = before.party if before is not None else _party(connection, ask.party)
    seq = _enter(connection, now, "reserved", ask.request, party, figures, charges=charges)
    connection.execute("INSERT OR REPLACE INTO holds VALUES (?, ?, ?)", (ask.request, process, seq))
    _charge(connection, charges, held=ask.amount)
    warned = [state for state in states if _is_news(connection, state, spent_out=state in over)]
    for state in warned:
        warn(connection, state.limit.name, state.key, now)
    return Outcome(None, tuple(warned))


def settle(connection: apsw.Connection, request: str, actual: Settlement | None, clock: float) -> None:
    """Put the truth in the place of the reservation; None keeps it as spent. A request that is not held: nothing."""
    hold = _held(connection, request)
    if hold is None:
        return
    now = time_of(connection, clock)
    if actual is None:
        _end(connection, "kept", hold, Settlement(hold.nano, hold.input, hold.output), 1, now)
    elif not (actual.nano or actual.input or actual.output):
        _end(connection, "released", hold, actual, 0, now)
    else:
        _end(connection, "settled", hold, actual, 1, now)


def find_lost(connection: apsw.Connection, is_dead: Callable[[int], bool], clock: float) -> int:
    """Count what processes had reserved that died as spent, since nobody can know; how many requests that were."""
    now = time_of(connection, clock)
    lost = 0
    for (process,) in rows(connection, "SELECT DISTINCT process FROM holds"):
        if not is_dead(process):
            continue
        for (request,) in rows(connection, "SELECT request FROM holds WHERE process = ?", (process,)):
            hold = _held(connection, request)
            if hold is not None:
                _end(connection, "lost", hold, Settlement(hold.nano, hold.input, hold.output), 1, now)
                lost += 1
    return lost


def credit(connection: apsw.Connection, charge: Charge, amount: Amount, reason: str, at: float) -> None:
    """Take from what was spent, by an operator's word."""
    figures = (-amount.nano, -amount.tokens, 0, -amount.requests)
    _enter(connection, at, "credited", "", None, figures, charges=[charge], reason=reason)
    _charge(connection, [charge], used=-amount)


def warn(connection: apsw.Connection, budget: str, key: str, now: float) -> None:
    """Note that somebody is told."""
    _enter(connection, now, "warned", "", None, (0, 0, 0, 0), charges=[(budget, key, 0)])
    connection.execute("INSERT OR REPLACE INTO warned VALUES (?, ?, ?)", (budget, key, now))


def set_time(connection: apsw.Connection, clock: float, reason: str) -> None:
    """Let the ledger's time be the clock's, which an operator says is right."""
    _enter(connection, clock, "time", "", None, (0, 0, 0, 0), reason=reason)


# -- rows


@frozen
class _Hold:
    request: str
    party: int
    nano: int
    input: int
    output: int
    charges: tuple[Charge, ...]

    @property
    def amount(self) -> Amount:
        return Amount(self.nano, self.input + self.output, 1)


def _held(connection: apsw.Connection, request: str) -> _Hold | None:
    found = rows(
        connection,
        "SELECT e.party, e.nano, e.input, e.output, e.detail FROM holds AS h JOIN entries AS e USING (seq) "
        "WHERE h.request = ?",
        (request,),
    )
    if not found:
        return None
    party, nano, sent, answered, detail = found[0]
    return _Hold(request, party, nano, sent, answered, tuple(map(tuple, json.loads(detail)["charges"])))


def _end(connection: apsw.Connection, kind: str, hold: _Hold, actual: Settlement, requests: int, now: float) -> None:
    """Let go of a reservation: this is the only place where one becomes something that was spent."""
    figures = (actual.nano, actual.input, actual.output, requests)
    _enter(connection, now, kind, hold.request, hold.party, figures, charges=hold.charges)
    spent = Amount(actual.nano, actual.input + actual.output, requests)
    _charge(connection, hold.charges, used=spent, held=-hold.amount)
    connection.execute("DELETE FROM holds WHERE request = ?", (hold.request,))


def _charge(
    connection: apsw.Connection, charges: Sequence[Charge], *, used: Amount = NOTHING, held: Amount = NOTHING
) -> None:
    for budget, key, start in charges:
        connection.execute(
            "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "nano = nano + excluded.nano, tokens = tokens + excluded.tokens, requests = requests + excluded.requests, "
            "held_nano = held_nano + excluded.held_nano, held_tokens = held_tokens + excluded.held_tokens, "
            "held_requests = held_requests + excluded.held_requests",
            (budget, key, start, *astuple(used), *astuple(held)),
        )


def _enter(
    connection: apsw.Connection,
    at: float,
    kind: str,
    request: str,
    party: int | None,
    figures: tuple[int, int, int, int],
    **detail: Any,
) -> int:
    return int(
        value(
            connection,
            "INSERT INTO entries (at, kind, request, party, nano, input, output, requests, detail) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq",
            (at, kind, request, party, *figures, json.dumps(detail)),
        )
    )


def _party(connection: apsw.Connection, party: Party) -> int:
    fields = astuple(party)
    found = value(
        connection,
        "SELECT id FROM parties WHERE principal = ? AND agent = ? AND session = ? AND channel = ? "
        "AND conversation = ? AND provider = ? AND model = ?",
        fields,
    )
    if found is not None:
        return int(found)
    return int(
        value(
            connection,
            "INSERT INTO parties (principal, agent, session, channel, conversation, provider, model) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
            fields,
        )
    )


def _is_news(connection: apsw.Connection, state: State, *, spent_out: bool) -> bool:
    limit = state.limit
    if not spent_out and (limit.warn_at is None or limit.share(state.used) < limit.warn_at):
        return False
    last = connection.execute("SELECT at FROM warned WHERE budget = ? AND key = ?", (limit.name, state.key)).get
    return last is None or last < state.span.first


def _renewal(state: State) -> float:
    """The longest wait decides what a person is told."""
    if state.limit.window.rolling:
        return state.limit.window.leaves(state.oldest)
    return float("inf") if state.span.renews is None else state.span.renews


def accounts_of(connection: apsw.Connection, limit: Limit, now: float) -> Iterator[State]:
    """Every account of a budget that has something in its window."""
    first = limit.window.at(now).first
    keys = "SELECT DISTINCT key FROM accounts WHERE budget = ? AND start >= ? ORDER BY key"
    for (key,) in rows(connection, keys, (limit.name, first)):
        yield account(connection, limit, key, now)
