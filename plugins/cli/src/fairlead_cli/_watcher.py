"""What the command learns from the stream of events: how turns ended, and what needs a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from fairlead import Observer
from fairlead import events as ev
from fairlead_cli._text import with_subject

if TYPE_CHECKING:
    from fairlead.events import Record
    from fairlead_cli._terminal import TerminalChannel
    from fairlead_cli._view import View

__all__ = ["ChatWatcher"]

_PATIENCE = 1.0
"""Seconds that an answer waits for the events that led to it: observers may lag."""
_FATAL = ("journal", "turn")
"""Subjects of notices that say that a turn broke: nothing will be sent for it."""


class ChatWatcher(Observer):
    """Tells the view and the terminal what the channel itself cannot see."""

    def __init__(self, view: View, terminal: TerminalChannel) -> None:
        self.name = "chat"
        self.outcome = ""
        """Of the last turn, as in `TurnEnded.outcome`."""
        self._view = view
        self._terminal = terminal
        self._ended = trio.Event()
        terminal.before_answer = self._wait_ended

    async def observe(self, record: Record) -> None:
        match record.event:
            case ev.TurnEnded(outcome=outcome, reason=reason, usage=usage):
                self.outcome = outcome
                self._view.ended(outcome, reason, usage)
                self._ended.set()
            case ev.ModelFailed(provider=provider, model=model, error=error, detail=detail):
                self._view.failed(f"{provider}/{model}" if model else provider, error, detail)
            case ev.NoticeRaised(subject=subject, detail=detail, level="warning" | "error" as level):
                if self._terminal.outcome != "closed":  # the exit code says it; `| head` is no fault
                    self._view.note(with_subject(subject, detail), level=level)
                if subject in _FATAL and level == "error":
                    self._terminal.unanswered("failed")
            case _:
                pass
        await trio.lowlevel.checkpoint()

    async def _wait_ended(self) -> None:
        with trio.move_on_after(_PATIENCE):
            await self._ended.wait()
        self._ended = trio.Event()
