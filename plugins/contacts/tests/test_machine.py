"""Whatever people and operators do in whatever order: the promises about codes hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fairlead_contacts import operations
from fairlead_contacts._book import ALPHABET, CODE_CHARS, CODE_SECONDS, OPEN_CODES, Book, has_room, issue
from fairlead_contacts._state import Pending, parse, render

from .strangers import Clock

PEOPLE = st.sampled_from([f"kit:{number}" for number in range(6)])
CHANNELS = st.sampled_from(["irc", "mail"])


class People(RuleBasedStateMachine):
    """A model of what each person was given and when."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.path = Path(self._directory.name)
        self.clock = Clock()
        self.given: dict[tuple[str, str, str], tuple[str, float]] = {}
        self.let_in: set[tuple[str, str, str]] = set()

    def teardown(self) -> None:
        self._directory.cleanup()

    def state_codes(self) -> tuple[Pending, ...]:
        return operations.pending(self.path, clock=self.clock)

    @rule(who=PEOPLE, channel=CHANNELS)
    def ask(self, who: str, channel: str) -> None:
        """A stranger writes."""
        book, key, now = Book(self.path), (channel, "bot", who), self.clock.now
        book.refresh()
        if has_room(book.state, Pending("", *key), now):
            before = self.given.get(key, ("", now - CODE_SECONDS))
            assert now - before[1] >= CODE_SECONDS, "never a new code within the hour"
            book.change(lambda state: issue(state, Pending("", *key), now))
            code = book.state.asked[key]
            assert set(code.code) <= set(ALPHABET)
            assert CODE_CHARS == len(code.code)
            self.given[key] = (code.code, now)

    @rule(seconds=st.floats(0, 4000))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(data=st.data())
    def approve(self, data: st.DataObject) -> None:
        """A code that waits, or the code of anybody at any time."""
        if self.given:
            key = data.draw(st.sampled_from(sorted(self.given)))
            code, at = self.given[key]
            try:
                contact = operations.approve(self.path, code, clock=self.clock)
            except (operations.UnknownCode, operations.TooManyGuesses):
                return
            assert key == contact.key
            assert self.clock.now < at + CODE_SECONDS
            self.let_in.add(key)

    @rule(code=st.text(ALPHABET, min_size=8, max_size=8))
    def guess(self, code: str) -> None:
        """Nobody is let in by chance (39 bits)."""
        try:
            operations.approve(self.path, code, clock=self.clock)
        except (operations.UnknownCode, operations.TooManyGuesses):
            return
        raise AssertionError("a guess let somebody in")

    @rule(who=PEOPLE)
    def remove(self, who: str) -> None:
        try:
            operations.remove(self.path, who)
        except operations.NotKnown:
            assert not any(key[2] == who for key in self.let_in)
        self.let_in = {key for key in self.let_in if key[2] != who}

    @invariant()
    def few_codes_are_open(self) -> None:
        """At most three a channel, and one a person."""
        codes = self.state_codes()
        for channel in ("irc", "mail"):
            assert sum(code.channel == channel for code in codes) <= OPEN_CODES
        assert len(codes) == len({code.key for code in codes}) == len({code.code for code in codes})

    @invariant()
    def exactly_the_approved_are_known(self) -> None:
        assert self.let_in == {contact.key for contact in operations.known(self.path)}

    @invariant()
    def the_file_says_what_was_written(self) -> None:
        state = Book(self.path).refresh()
        assert state == parse(render(state))


People.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestPeople = People.TestCase
