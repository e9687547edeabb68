"""Whatever is asked, settled, killed and set back: no budget is ever exceeded, and nothing counts twice."""

from __future__ import annotations

import tempfile
from pathlib import Path

import apsw
from attrs import define, evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fairlead_budgets._audit import audit
from fairlead_budgets._file import open_writing, transaction
from fairlead_budgets._ledger import Ask, Settlement, account, find_lost, reserve, settle
from fairlead_budgets._options import Limit, Party
from fairlead_budgets._presence import Presence
from fairlead_budgets._windows import Window

from .spending import NOW

DAY = 86_400
LIMITS = (
    Limit("all", nano=100, window=Window("day")),
    Limit("person", "principal", tokens=60, window=Window("hour")),
    Limit("talk", "session", requests=4, window=Window(rolling=3600)),
    Limit("soft", nano=10, window=Window("total"), denies=False),
)
PEOPLE = st.sampled_from(["ann", "bob"])
FIGURES = st.integers(0, 30)


@define
class Process:
    """One that has the ledger open."""

    connection: apsw.Connection
    presence: Presence


@define
class Known:
    """What the model of the test knows of a request."""

    ask: Ask
    parties: list[Party]
    """Whoever asked for it."""
    at: float
    """The ledger's time when it was reserved."""
    process: int
    nano: int
    tokens: int
    requests: int = 1
    open: bool = True


class Spending(RuleBasedStateMachine):
    """A model that keeps every request, and counts them all each time."""

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "ledger.db"
        self.clock, self.time = NOW, 0.0
        self.requests: dict[str, Known] = {}
        self.processes: list[Process] = []
        self.start()

    def teardown(self) -> None:
        for process in self.processes:
            process.connection.close()
            process.presence.close()
        self.directory.cleanup()

    @rule()
    def start(self) -> None:
        """Another process opens the ledger, and finds what the dead have left."""
        if len(self.processes) < 3:
            process = Process(open_writing(self.path), Presence(self.path.with_suffix(".processes")))
            process.presence.open()
            self.processes.append(process)
            with transaction(process.connection):
                lost = find_lost(process.connection, process.presence.is_dead, self.clock)
            alive = {each.presence.process for each in self.processes}
            dead = [each for each in self.requests.values() if each.open and each.process not in alive]
            assert len(dead) == lost
            for each in dead:
                each.open = False
            if dead:
                self.time = max(self.time, self.clock)

    @rule(which=st.integers(0, 2))
    def kill(self, which: int) -> None:
        """A process is gone, and with it its lock; what it had reserved stays."""
        if len(self.processes) > 1:
            process = self.processes.pop(which % len(self.processes))
            process.connection.close()
            process.presence.close()

    @rule(which=st.integers(0, 2), who=PEOPLE, talk=st.sampled_from(["s", "t"]), nano=FIGURES, tokens=FIGURES)
    def ask(self, which: int, who: str, talk: str, nano: int, tokens: int) -> None:
        """It passes exactly where it fits into each budget that denies."""
        process = self.processes[which % len(self.processes)]
        ask = Ask(f"r{len(self.requests)}", Party(who, session=talk), nano, tokens, 0)
        now = max(self.time, self.clock)
        fits = all(
            self.fits(limit, key, now, ask) for limit in LIMITS if limit.denies for key in [limit.key(ask.party)]
        )
        with transaction(process.connection):
            outcome = reserve(process.connection, LIMITS, process.presence.process, ask, self.clock)
        assert fits == (outcome.over is None)
        if fits:
            self.requests[ask.request] = Known(ask, [ask.party], now, process.presence.process, nano, tokens)
            self.time = now

    @rule(data=st.data(), who=PEOPLE, revised=st.none() | st.tuples(FIGURES, FIGURES))
    def ask_again(self, data: st.DataObject, who: str, revised: tuple[int, int] | None) -> None:
        """The same request, revised or for somebody else too: charged once, with what it can be, or not at all."""
        known = self.one_open(data)
        if known is None:
            return
        process = self.process_of(known)
        nano, tokens = revised or (known.nano, known.tokens)
        ask = Ask(known.ask.request, evolve(known.ask.party, principal=who), nano, tokens, 0)
        with transaction(process.connection):
            outcome = reserve(process.connection, LIMITS, process.presence.process, ask, self.clock)
        if ask.party in known.parties and (nano, tokens) == (known.nano, known.tokens):
            assert outcome.over is None
            return
        now = self.time = max(self.time, self.clock)
        if outcome.over is None:
            known.nano, known.tokens, known.at = nano, tokens, now
            known.parties.append(ask.party)
        else:
            known.nano = known.tokens = known.requests = 0
            known.open = False

    @rule(data=st.data(), share=st.sampled_from([None, 0.0, 0.3, 1.0]))
    def settle(self, data: st.DataObject, share: float | None) -> None:
        """Once, or twice, by whatever process: the second time is nothing."""
        known = self.one_open(data)
        if known is None:
            return
        actual = None
        if share is not None:
            actual = Settlement(int(known.nano * share), int(known.tokens * share), 0)
            known.nano, known.tokens = actual.nano, actual.input
            known.requests = int(bool(known.nano or known.tokens))
        known.open = False
        self.time = max(self.time, self.clock)
        for process in self.processes[:2]:
            with transaction(process.connection):
                settle(process.connection, known.ask.request, actual, self.clock)

    @rule(seconds=st.sampled_from([1, 59, 60, 1800, 3660, DAY]))
    def wait(self, seconds: int) -> None:
        self.clock += seconds

    @rule(seconds=st.sampled_from([1, 3600, 3 * DAY]))
    def set_back(self, seconds: int) -> None:
        """The clock goes back; no window comes again."""
        self.clock -= seconds

    @invariant()
    def no_budget_is_exceeded(self) -> None:
        now = max(self.time, self.clock)
        for limit in LIMITS[:3]:
            for key in {limit.key(party) for each in self.requests.values() for party in each.parties}:
                assert self.within(limit, key, now)

    @invariant()
    def figures_are_those_of_the_model(self) -> None:
        now = max(self.time, self.clock)
        connection = self.processes[0].connection
        for limit in LIMITS:
            for key in {limit.key(party) for each in self.requests.values() for party in each.parties} - {None}:
                state = account(connection, limit, str(key), now)
                both = state.used + state.held
                assert self.spent(limit, str(key), now) == (both.nano, both.tokens, both.requests)

    @invariant()
    def entries_amount_to_the_figures(self) -> None:
        found = audit(self.processes[0].connection)
        assert () == found.faults
        assert sum(each.open for each in self.requests.values()) == found.held

    # -- the model

    def one_open(self, data: st.DataObject) -> Known | None:
        alive = {process.presence.process for process in self.processes}
        found = [each for each in self.requests.values() if each.open and each.process in alive]
        return data.draw(st.sampled_from(found)) if found else None

    def process_of(self, known: Known) -> Process:
        return next(each for each in self.processes if each.presence.process == known.process)

    def spent(self, limit: Limit, key: str | None, now: float) -> tuple[int, int, int]:
        first = limit.window.at(now).first
        inside = [
            each
            for each in self.requests.values()
            if key in map(limit.key, each.parties) and limit.window.at(each.at).bucket >= first
        ]
        return (
            sum(each.nano for each in inside),
            sum(each.tokens for each in inside),
            sum(each.requests for each in inside),
        )

    def within(self, limit: Limit, key: str | None, now: float) -> bool:
        nano, tokens, requests = self.spent(limit, key, now)
        limits = ((nano, limit.nano), (tokens, limit.tokens), (requests, limit.requests))
        return all(most is None or have <= most for have, most in limits)

    def fits(self, limit: Limit, key: str | None, now: float, ask: Ask) -> bool:
        nano, tokens, requests = self.spent(limit, key, now)
        limits = ((nano + ask.nano, limit.nano), (tokens + ask.input, limit.tokens), (requests + 1, limit.requests))
        return all(most is None or have <= most for have, most in limits)


Spending.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestSpending = Spending.TestCase
