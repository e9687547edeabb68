"""Lanes, as a state machine over any order of arrivals, endings and people who give up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fairlead._lanes import Lanes, Ticket
from fairlead.config import LaneLimits
from fairlead.errors import ConfigError

LIMITS = LaneLimits(interactive=3, background=2, subagent=2, total=4, reserved_interactive=1)
CLASSES: tuple[Any, ...] = ("interactive", "background", "subagent")


class LaneMachine(RuleBasedStateMachine):
    """A plain model beside the real thing: a list of tickets for each session."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes(LIMITS)
        self.lines: dict[str, list[Ticket]] = {}
        self.paused: set[str] = set()
        """Sessions whose first one waits for people."""

    @rule(session=st.sampled_from("abcdef"), work_class=st.sampled_from(CLASSES), priority=st.integers(-1, 1))
    def arrive(self, session: str, work_class: Any, priority: int) -> None:
        self.lines.setdefault(session, []).append(self.lanes.enter(session, work_class, priority))

    @precondition(lambda self: any(self.lines.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """The one that runs ends, or anyone who waits gives up."""
        session = data.draw(st.sampled_from(sorted(name for name, line in self.lines.items() if line)))
        ticket = data.draw(st.sampled_from(self.lines[session]))
        if ticket is self.lines[session][0]:
            self.paused.discard(session)
        self.lines[session].remove(ticket)
        self.lanes.leave(ticket)

    @precondition(lambda self: any(line and line[0].granted for line in self.lines.values()))
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        """The one that runs has to wait for people."""
        running = sorted(name for name, line in self.lines.items() if line and line[0].granted)
        session = data.draw(st.sampled_from(running))
        self.paused.add(session)
        self.lanes.pause(session)

    @precondition(lambda self: self.paused)
    @rule(data=st.data())
    def unpause(self, data: st.DataObject) -> None:
        """They have decided."""
        session = data.draw(st.sampled_from(sorted(self.paused)))
        self.paused.remove(session)
        assert self.lines[session][0] is self.lanes.unpause(session)

    @invariant()
    def at_most_one_runs_in_a_session_and_it_is_the_first(self) -> None:
        for line in self.lines.values():
            assert not any(ticket.granted for ticket in line[1:])

    @invariant()
    def limits_hold(self) -> None:
        running = [ticket for line in self.lines.values() for ticket in line if ticket.granted]
        assert len(running) == self.lanes.running <= LIMITS.total
        for work_class in CLASSES:
            assert sum(ticket.work_class == work_class for ticket in running) <= getattr(LIMITS, work_class)

    @invariant()
    def reservation_holds(self) -> None:
        running = [ticket for line in self.lines.values() for ticket in line if ticket.granted]
        assert sum(ticket.work_class != "interactive" for ticket in running) <= LIMITS.total - 1

    @invariant()
    def nobody_waits_where_there_is_room(self) -> None:
        running = [ticket.work_class for line in self.lines.values() for ticket in line if ticket.granted]
        for name, line in self.lines.items():
            if line and not line[0].granted and name not in self.paused:
                mine = line[0].work_class
                others = len(running) - running.count("interactive")
                full = running.count(mine) == getattr(LIMITS, mine) or len(running) == LIMITS.total
                assert full or (mine != "interactive" and others == LIMITS.total - 1)

    @invariant()
    def sessions_at_work_are_those_that_have_a_place(self) -> None:
        granted = {name for name, line in self.lines.items() if line and line[0].granted}
        assert granted == set(self.lanes.at_work())


TestLanes = LaneMachine.TestCase
TestLanes.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


async def test_waiting_ticket_wakes_when_it_is_granted() -> None:
    """`wait` returns at once for a granted ticket, and later for the others."""
    lanes = Lanes(LIMITS)
    first, second = lanes.enter("s"), lanes.enter("s")
    await first.wait()
    assert not second.granted
    lanes.leave(first)
    await second.wait()
    assert second.granted


def test_higher_priority_goes_first_and_equals_in_the_order_of_coming() -> None:
    """Within a class; the order inside of a session is never changed by it."""
    lanes = Lanes(LaneLimits(interactive=1, total=2))
    first = lanes.enter("busy")
    waiting = {
        name: lanes.enter(name, priority=priority) for name, priority in zip("abcde", (0, 2, 0, 2, 1), strict=True)
    }
    behind = lanes.enter("a", priority=9)
    order, tickets = [], {**waiting, "a again": behind}
    lanes.leave(first)
    while tickets:
        (name,) = [name for name, ticket in tickets.items() if ticket.granted]
        order.append(name)
        lanes.leave(tickets.pop(name))
    assert ["b", "d", "e", "a", "a again", "c"] == order


def test_interactive_work_finds_a_place_beside_all_others() -> None:
    """However much background and sub-agent work there is: a quarter of the places by default."""
    lanes = Lanes(LaneLimits(interactive=8, background=8, subagent=8, total=8))
    others = [lanes.enter(f"b{number}", "background") for number in range(8)]
    others += [lanes.enter(f"s{number}", "subagent") for number in range(8)]
    assert 6 == sum(ticket.granted for ticket in others)
    assert [True, True, False] == [lanes.enter(f"i{number}").granted for number in range(3)]


def test_reservation_leaves_something_to_the_others() -> None:
    """Else a schedule would never run, and nobody would see why."""
    with pytest.raises(ConfigError, match=r"fewer than lanes\.total = 4, found 4") as told:
        Lanes(LaneLimits(total=4, reserved_interactive=4))
    assert "lanes.reserved_interactive" == told.value.path
