"""The outbox: what goes to a channel, once. And the draft that a streaming channel shows before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio
from attrs import evolve

from fairlead import _events as ev
from fairlead._leaf import own_fault, said
from fairlead._message import Data, Text, sound
from fairlead._work import Delivery, Delta, Draft, Outbound, Progress
from fairlead.errors import JournalUnavailable, VersionConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fairlead._contracts import Channel
    from fairlead._fold import Unsent
    from fairlead._message import Address, Audio, File, Image, Part, Principal
    from fairlead._observers import Observers
    from fairlead._session import Session
    from fairlead._work import Capabilities

__all__ = ["DraftBoard", "Outbox", "fitted", "split_text"]

_ATTEMPTS = 5
"""Tries of one write that another process was faster with."""
_SOON = 5.0
"""Seconds of waiting for the next try in which an answer holds its session; in a longer pause the session goes on."""
_BACKOFF = (15.0, 60.0, 300.0, 900.0)
"""Seconds at least before an answer that failed again is tried the next time."""
_GIVE_UP = 86_400.0
"""Seconds after which an answer that could not be sent is given up: nobody waits for it any more."""
_SEND_SECONDS = 300.0
"""For one send: a channel that hangs must not hold its session, and a place of all sessions, for good."""
_LONGEST_PAUSE = 300.0
"""Seconds before another try, whatever the channel asks for."""


class Outbox:
    """Sends what the sessions have to say."""

    def __init__(
        self, channels: Mapping[str, Channel], clock: Callable[[], float], notice: Callable[[str, str], None]
    ) -> None:
        self._channels, self._clock, self._notice = channels, clock, notice
        self._deferred: set[str] = set()
        """Turns whose answers wait for another try, by a task of this process."""

    def channel(self, address: Address | None) -> Channel | None:
        return self._channels.get(address.channel) if address is not None else None

    async def deliver(self, session: Session, turn: str) -> float:
        """Send one answer and journal what became of it. Without its channel it stays for a process that has it.

        Where it has surely not arrived, or may be sent twice, it is tried again for a day: in so many seconds, or 0.
        """
        unsent = session.state.outbox.get(turn)
        channel = self.channel(unsent.address) if unsent is not None else None
        if unsent is None or channel is None:
            self._deferred.discard(turn)  # another process has sent it, or it was erased
            return 0.0
        asks = unsent.kind == "question"  # shown twice it is one decision; shown to nobody it is none
        if unsent.sending and not (asks or channel.capabilities.idempotency):
            delivery = Delivery("ambiguous", reason="the program stopped while it was sending")
            return await self._settle(session, turn, "unknown", delivery)
        if turn not in self._deferred and (left := unsent.until - self._clock()) > 0:
            self._deferred.add(turn)
            return min(left, _BACKOFF[-1])  # no longer, whatever the clock of the process was that wrote it
        first = unsent.attempts + 1
        for attempt in range(first, first + 3):
            if not await self._write(session, ev.AnswerSending(turn=turn, attempt=attempt, at=self._clock())):
                return 0.0
            delivery = await self._send(channel, session, turn, unsent)
            again = delivery.retry_after if delivery.status == "failed" else None
            if delivery.status == "ambiguous" and channel.capabilities.idempotency:
                again = 2.0 ** min(attempt, 6)
            if again is None or self._clock() - unsent.since > _GIVE_UP:
                break
            if again > _SOON or attempt == first + 2:
                return await self._defer(session, turn, max(again, _backoff(attempt)), delivery.reason)
            await trio.sleep(again)
        return await self._settle(session, turn, delivery.status, delivery)

    async def _defer(self, session: Session, turn: str, pause: float, reason: str) -> float:
        text = (
            f"answer {turn} of session {session.state.id!r} waits for its channel; tried again in {pause:g} s: {reason}"
        )
        self._notice("outbox", text)
        self._deferred.add(turn)
        now = self._clock()
        kept = await self._write(session, ev.AnswerDeferred(turn=turn, until=now + pause, reason=reason, at=now))
        return pause if kept else 0.0

    async def _send(self, channel: Channel, session: Session, turn: str, unsent: Unsent) -> Delivery:
        delivery = Delivery("failed", reason="nothing to send")
        parts = unsent.answer.parts
        if unsent.kind != "answer" and "application/json" not in channel.capabilities.media:
            parts = parts[:1]  # the rest says the same to programs
        pieces = fitted(parts, channel.capabilities)
        for step, parts in enumerate(pieces):
            outbound = Outbound(
                turn if step == 0 else f"{turn}.{step}",
                unsent.address,
                parts,
                unsent.in_reply_to,
                "answer" if unsent.kind == "answer" else "notice",
                session.state.id,
            )
            try:
                with trio.move_on_after(_SEND_SECONDS) as scope:
                    delivery = _checked(await channel.send(outbound))
                if scope.cancelled_caught:
                    delivery = Delivery("ambiguous", reason=f"the channel took over {_SEND_SECONDS:g} s")
            except BaseException as error:  # noqa: BLE001  # a channel's fault must not end the turn
                fault = await own_fault(error)
                self._notice(f"channels/{channel.name}", f"send raised {said(fault)}")
                delivery = Delivery("ambiguous", reason=f"the channel raised {type(fault).__name__}")
            if delivery.status == "sent" and not delivery.external_id and not channel.capabilities.idempotency:
                delivery = evolve(delivery, status="ambiguous", reason="the channel gave no id")
            if delivery.status == "failed" and step:
                # An earlier piece has arrived: sending all again would show it twice.
                return evolve(delivery, status="ambiguous", reason=f"piece {step + 1}: {delivery.reason}")
            if delivery.status != "sent" and delivery.reason != "the channel gave no id":
                return delivery
        return delivery

    async def _settle(self, session: Session, turn: str, status: str, delivery: Delivery) -> float:
        self._deferred.discard(turn)
        if status != "sent":
            self._notice("outbox", f"answer {turn} of session {session.state.id!r} is {status}: {delivery.reason}")
        await self._write(
            session,
            ev.AnswerDelivered(
                turn=turn,
                status=status,  # type: ignore[arg-type]  # one of the four by construction
                external_id=delivery.external_id,
                reason=delivery.reason,
                at=self._clock(),
            ),
        )
        return 0.0

    async def _write(self, session: Session, event: ev.AnswerSending | ev.AnswerDeferred | ev.AnswerDelivered) -> bool:
        """Append, after others too. False where the answer is in the outbox no more: another process has sent it."""
        for _ in range(_ATTEMPTS):
            try:
                await session.append(event)
            except VersionConflict:
                await session.reload()
                if event.turn not in session.state.outbox:
                    return False
            else:
                return True
        raise JournalUnavailable(f"session {session.state.id!r} was written by others {_ATTEMPTS} times in a row")


def _backoff(attempt: int) -> float:
    return _BACKOFF[min(attempt // 3, len(_BACKOFF) - 1)]


class DraftBoard:
    """Collects what a turn shows while it runs, and gives the newest state to the channel as fast as that takes it."""

    def __init__(self, channel: Channel, draft: Draft, session: str, observers: Observers) -> None:
        self._channel, self._draft, self._session, self._observers = channel, draft, session, observers
        self._pieces: list[str] = []
        self._tools: dict[str, Progress] = {}
        self._changed = trio.Event()
        self.author: Principal | None = None

    def answers(self, accepted: ev.MessageAccepted) -> None:
        """The turn answers this message as well, which came last."""
        self._draft = evolve(self._draft, in_reply_to=accepted.external_id)
        self.author = accepted.message.author

    async def emit(self, delta: Delta) -> None:
        if delta.kind == "text":
            self._pieces.append(delta.text)
            self._changed.set()

    def progress(self, progress: Progress) -> None:
        self._tools[progress.call] = progress
        if progress.status == "running":
            self._pieces.clear()  # what was said before a tool ran is not the answer
        self._changed.set()

    async def run(self) -> None:
        """Show until cancelled. A channel that fails once is not asked again."""
        while await self._show_next():
            pass

    async def finish(self) -> None:
        """Show what has not been shown, at most for a second: the tools of a quick turn would else never be seen."""
        if self._changed.is_set():
            with trio.move_on_after(_LAST_DRAFT):
                await self._show_next()

    async def _show_next(self) -> bool:
        await self._changed.wait()
        self._changed = trio.Event()
        if len(self._pieces) > 1:
            self._pieces[:] = ["".join(self._pieces)]
        draft = evolve(self._draft, text="".join(self._pieces), tools=tuple(self._tools.values()))
        if self._observers.watching:
            self._observers.show(self._session, ev.DraftShown(draft=draft, principal=self.author))
        try:
            await self._channel.preview(draft)
        except BaseException as error:  # noqa: BLE001  # a preview that fails costs the preview only
            self._changed.set()  # where it was cancelled it may not have been seen: `finish` shows it
            text = f"preview raised {said(await own_fault(error))}"
            self._changed = trio.Event()
            self._observers.raise_notice(f"channels/{self._channel.name}", text)
            return False
        return True


_LAST_DRAFT = 1.0


def _checked(delivery: Any) -> Delivery:
    """What a channel returned, as the journal can keep it. `TypeError`, `ValueError`: it is no delivery."""
    if not isinstance(delivery, Delivery) or delivery.status not in ("sent", "ambiguous", "failed"):
        raise TypeError(f"expected a Delivery with a known status, found {str(delivery)[:200]!r}")
    pause = delivery.retry_after
    if pause is not None:
        pause = min(max(0.0, float(pause)), _LONGEST_PAUSE)
    return Delivery(delivery.status, sound(str(delivery.external_id)), sound(str(delivery.reason)), pause)


def fitted(parts: Sequence[Part], capabilities: Capabilities) -> list[tuple[Part, ...]]:
    """The parts as messages that the channel can take: long text split, media it cannot send put into words."""
    media = [part for part in parts if not isinstance(part, Text) and _takes(capabilities, part)]
    words = [_in_words(part) for part in parts if part not in media]
    origin = parts[0].origin if parts else None
    texts = split_text("\n".join(words), capabilities.max_chars) if words else []
    messages: list[tuple[Part, ...]] = [(Text(text, origin),) if origin else (Text(text),) for text in texts]
    if media:
        messages[-1:] = [(*(messages[-1] if messages else ()), *media)]
    return messages


def _takes(capabilities: Capabilities, part: Image | Audio | File | Data) -> bool:
    if isinstance(part, Data):
        return "application/json" in capabilities.media
    media_type = part.media_type
    return media_type in capabilities.media or media_type.split("/", maxsplit=1)[0] + "/*" in capabilities.media


def _in_words(part: Part) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Data):
        return json.dumps(part.value, ensure_ascii=False)
    name = getattr(part, "name", "") or getattr(part, "alt", "") or part.media_type
    return f"[{name}: {part.url}]" if part.url else f"[{name}: this channel cannot show it]"


def split_text(text: str, limit: int | None) -> list[str]:
    """Pieces of at most `limit` characters, cut at a paragraph, a line or a space where one is in the second half.

    A base character keeps its combining marks and joiners. Joined with the white space at the cuts they are the text.
    """
    if not limit:
        return [text] if text.strip() else []
    pieces = []
    while len(text) > limit:
        end = next((at for mark in ("\n\n", "\n", " ") if (at := text.rfind(mark, limit // 2, limit + 1)) > 0), 0)
        if not end:
            end = next((at for at in range(limit, limit // 2, -1) if not _clings(text, at)), limit)
        pieces.append(text[:end].rstrip())
        text = text[end:].lstrip()
    pieces.append(text)
    return [piece for piece in pieces if piece.strip()]


def _clings(text: str, at: int) -> bool:
    """Whether a character belongs to the one before it: a mark, a skin tone, either side of a joiner."""
    import unicodedata  # noqa: PLC0415  # 1 MB of tables that only splitting needs

    char = text[at]
    joined = "\u200d" in (char, text[at - 1])
    return joined or unicodedata.category(char)[0] == "M" or "\U0001f3fb" <= char <= "\U0001f3ff"
