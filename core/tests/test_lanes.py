"""Lanes, as a state machine over any order of arrivals, endings and people who give up."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fairlead._lanes import Lanes, Ticket
from fairlead.config import LaneLimits

LIMITS = LaneLimits(interactive=3, background=2, subagent=1, total=4)
CLASSES: tuple[Any, ...] = ("interactive", "background", "subagent")


class LaneMachine(RuleBasedStateMachine):
    """A plain model beside the real thing: a list of tickets for each session."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes(LIMITS)
        self.lines: dict[str, list[Ticket]] = {}
        self.paused: set[str] = set()
        """Sessions whose first one waits for people."""

    @rule(session=st.sampled_from("abcdef"), work_class=st.sampled_from(CLASSES))
    def arrive(self, session: str, work_class: Any) -> None:
        self.lines.setdefault(session, []).append(self.lanes.enter(session, work_class))

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
    def nobody_waits_where_there_is_room(self) -> None:
        running = [ticket for line in self.lines.values() for ticket in line if ticket.granted]
        for name, line in self.lines.items():
            if line and not line[0].granted and name not in self.paused:
                same = sum(ticket.work_class == line[0].work_class for ticket in running)
                assert same == getattr(LIMITS, line[0].work_class) or len(running) == LIMITS.total


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
