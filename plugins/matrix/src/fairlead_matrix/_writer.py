"""What goes out: answers once, drafts that grow, edits, and the signs that somebody writes or has read."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import trio
from attrs import define, field

from fairlead import Address, Audio, Delivery, Draft, File, Image, Outbound, Text
from fairlead.errors import FairleadError
from fairlead_matrix._account import Account
from fairlead_matrix._api import Broken, Refused, Unreachable, path_of
from fairlead_matrix._content import fits, place, replacement, shortened, text_event
from fairlead_matrix._json import mapped, texted
from fairlead_matrix._media import Media
from fairlead_matrix._rooms import Rooms

__all__ = ["Writer"]

DRAFT_SECONDS = 3.0
"""For one form of a draft; it is not cut off by the end of the turn, since it could then come after the answer."""
SIGN_SECONDS = 5.0
TYPING_SECONDS, TYPING_AGAIN = 30.0, 20.0
NOTICE_SECONDS = 60.0
"""Between two refusals that one sender is told of."""
AWAY_PAUSE, AWAY_LONGEST = 5.0, 300.0
"""Seconds until an answer is tried again while the homeserver is away: four times as long after each try."""
CALM_FACTOR = 2.0
"""How much longer than the server asks for no draft is shown: the answer itself needs a place too."""
KEPT = 500

log = logging.getLogger(__name__)


@define(eq=False)
class _Shown:
    """An answer that is not finished."""

    due: float
    """When its next form may be shown, by trio's clock."""
    event_id: str = ""
    """Empty: nothing was shown, or nobody knows."""
    begun: bool = False


@define(eq=False)
class Writer:
    """Writes in the rooms of one account.

    The transaction id of an answer's first event is its `Outbound.id`. For one that it knows of the same device, a
    homeserver gives the event that it has, and adds none: so an answer that is sent again is the same one, also by
    another process. What stands there may be a draft: then the answer is its edit, whose id is fixed as well.
    """

    account: Account
    rooms: Rooms
    media: Media
    _drafts: dict[str, _Shown] = field(factory=dict)
    _away: dict[str, float] = field(factory=dict)
    """Pauses of answers that did not reach the server."""
    _typing: dict[str, float] = field(factory=dict)
    _told: dict[str, float] = field(factory=dict)
    _calm: float = 0.0
    """Until when no draft is shown, since the server asked for fewer messages."""
    _stretch: float = 1.0
    """How many times longer than configured the drafts wait for each other."""

    # -- answers

    async def send(self, outbound: Outbound) -> Delivery:
        """Show it once, whoever tried before."""
        arrived = [""]
        try:
            delivery = await self._send(outbound, arrived)
        except FairleadError as error:
            if arrived[0] or isinstance(error, Broken):  # what is there already is not shown again by the next try
                return Delivery("ambiguous", arrived[0], error.problem)
            return self._failed(outbound, error)
        self._drafts.pop(outbound.id, None)
        self._away.pop(outbound.id, None)
        await self._stop_typing(outbound.address.conversation)
        return delivery

    def _failed(self, outbound: Outbound, error: FairleadError) -> Delivery:
        """It has surely not arrived: for how long to wait."""
        if isinstance(error, Unreachable):
            pause = self._away.pop(outbound.id, AWAY_PAUSE)
            _remember(self._away, outbound.id, min(pause * 4, AWAY_LONGEST))
            return Delivery("failed", reason=error.problem, retry_after=pause)
        if isinstance(error, Refused):
            return Delivery("failed", reason=error.problem, retry_after=error.retry_after)
        return Delivery("failed", reason=f"{error.problem}; {error.next_step}", retry_after=AWAY_LONGEST)

    async def _send(self, outbound: Outbound, arrived: list[str]) -> Delivery:
        room_id = outbound.address.conversation
        room = await self.rooms.get(room_id)
        if room.encrypted:
            return Delivery("failed", reason=f"the room {room_id} is encrypted: nothing is sent to it in the clear")
        where = self._relation(outbound.address, outbound.in_reply_to, direct=room.direct)
        msgtype = "m.notice" if outbound.kind == "notice" else self.account.options.answer_type
        text = _words(outbound)
        if text:
            content = place(text_event(text, msgtype), *where)
            if not fits(content):
                return Delivery("failed", reason="the message is larger than an event of Matrix can be")
            arrived[0] = await self._show(room_id, outbound.id, content)
        files = [part for part in outbound.parts if isinstance(part, Image | Audio | File)]
        for number, part in enumerate(files, start=1):
            # Never the message's own id: a draft may stand there.
            event_id = await self._put(room_id, f"{outbound.id}~m{number}", place(await self._media(part), *where))
            arrived[0] = arrived[0] or event_id
        if not arrived[0]:
            return Delivery("failed", reason="the message is empty")
        return Delivery("sent", external_id=arrived[0])

    async def _show(self, room_id: str, key: str, content: Mapping[str, Any]) -> str:
        """Show the text of an answer: as the draft's last form where one is there."""
        draft = self._drafts.get(key)
        event_id = draft.event_id if draft is not None else ""
        if not event_id:
            event_id = await self._put(room_id, key, content)
        if (draft is not None and draft.begun) or await self._is_other(room_id, event_id, content):
            await self._put(room_id, f"{key}~final", replacement(event_id, content))
        return event_id

    async def _is_other(self, room_id: str, event_id: str, content: Mapping[str, Any]) -> bool:
        """Whether the event is another than was just sent: the draft of a process that has died."""
        try:
            found = await self.account.call("GET", path_of("rooms", room_id, "event", event_id))
        except Refused:
            return False  # we may write there and not read
        except Unreachable as error:
            raise Broken(error.problem) from error  # something has arrived already
        said = mapped(found, "content")
        return (texted(said, "body"), texted(said, "msgtype")) != (content["body"], content["msgtype"])

    async def _media(self, part: Image | Audio | File) -> dict[str, Any]:
        if part.data is None:
            return text_event(f"{part.media_type}: {part.url}", self.account.options.answer_type)
        try:
            return await self.media.publish(part)
        except Refused as refused:
            if refused.retry_after is not None:
                raise
            return text_event(f"[{part.media_type}: the homeserver does not take this file]", "m.notice")

    async def edit(self, delivery: Delivery, outbound: Outbound) -> Delivery:
        """Replace a message that was sent. The errors of `Account.call`."""
        room_id = outbound.address.conversation
        if (await self.rooms.get(room_id)).encrypted:
            return Delivery("failed", delivery.external_id, f"the room {room_id} is encrypted")
        msgtype = "m.notice" if outbound.kind == "notice" else self.account.options.answer_type
        # Each edit is one of its own: the same words again, after others, are the newest form.
        txn = f"{outbound.id}~edit.{os.urandom(8).hex()}"
        await self._put(room_id, txn, replacement(delivery.external_id, text_event(_words(outbound), msgtype)))
        return Delivery("sent", external_id=delivery.external_id)

    async def notice(self, address: Address, event_id: str, sender: str, text: str) -> None:
        """Tell a sender why a message was not taken: once a minute, and where it fails not at all."""
        now = trio.current_time()
        if now < self._told.get(sender, 0.0):
            return
        _remember(self._told, sender, now + NOTICE_SECONDS)
        try:
            room = await self.rooms.get(address.conversation)
            if not room.encrypted:
                where = self._relation(address, event_id, direct=room.direct)
                content = place(text_event(shortened(text, self.account.options.max_chars), "m.notice"), *where)
                await self._put(address.conversation, f"notice~{event_id}", content)
        except FairleadError as error:
            log.info("%s: a sender could not be told: %s", self.account.options.name, error.problem)

    # -- what grows

    async def preview(self, draft: Draft) -> None:
        """Show the newest form, as often as configured and as the server likes; never raises for what it finds."""
        now, options, room_id = trio.current_time(), self.account.options, draft.address.conversation
        shown = self._drafts.get(draft.id)
        if shown is None:
            shown = _Shown(due=now + options.edit_seconds)  # an answer that is quick is shown at once, and whole
            _remember(self._drafts, draft.id, shown)
        try:
            room = await self.rooms.get(room_id)
            if room.encrypted:
                return
            await self._start_typing(room_id)
            if draft.text.strip() and now >= max(shown.due, self._calm):
                where = self._relation(draft.address, draft.in_reply_to, direct=room.direct)
                await self._grow(room_id, draft, shown, where)
                shown.due = trio.current_time() + options.edit_seconds * self._stretch
        except Refused as refused:
            if refused.retry_after is not None:
                self._calm = trio.current_time() + CALM_FACTOR * refused.retry_after
                self._stretch = min(self._stretch * 2, 16.0)
        except FairleadError as error:
            shown.due = trio.current_time() + AWAY_PAUSE
            log.info("%s: a draft was not shown: %s", options.name, error.problem)

    async def _grow(self, room_id: str, draft: Draft, shown: _Shown, where: tuple[str, str]) -> None:
        options = self.account.options
        content = place(text_event(shortened(draft.text, options.max_chars), options.answer_type), *where)
        with trio.move_on_after(DRAFT_SECONDS, shield=True):
            if not shown.event_id:
                shown.begun = True  # from now on nobody knows what stands there, also where this fails
                shown.event_id = await self._put(room_id, draft.id, content)
            else:
                # Its id is new: those of a process that died may stand for other words.
                txn = f"{draft.id}~draft.{os.urandom(8).hex()}"
                await self._put(room_id, txn, replacement(shown.event_id, content))

    # -- signs

    async def read_up_to(self, address: Address, event_id: str) -> None:
        """The receipt that somebody has it. Not worth an error."""
        body = {"thread_id": address.thread or "main"}
        await self._sign("POST", path_of("rooms", address.conversation, "receipt", "m.read", event_id), body)

    async def _start_typing(self, room_id: str) -> None:
        now = trio.current_time()
        if self.account.options.typing and now >= self._typing.get(room_id, 0.0):
            _remember(self._typing, room_id, now + TYPING_AGAIN)
            await self._type(room_id, {"typing": True, "timeout": int(TYPING_SECONDS * 1000)})

    async def _stop_typing(self, room_id: str) -> None:
        if self._typing.pop(room_id, None) is not None:
            await self._type(room_id, {"typing": False})

    async def _type(self, room_id: str, body: Mapping[str, Any]) -> None:
        await self._sign("PUT", path_of("rooms", room_id, "typing", self.account.user_id), body)

    async def _sign(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        try:
            await self.account.call(method, path, body, seconds=SIGN_SECONDS)
        except FairleadError as error:
            log.debug("%s: %s", self.account.options.name, error.problem)

    # -- all

    async def _put(self, room_id: str, txn: str, content: Mapping[str, Any]) -> str:
        """One event, once for each transaction id; its event id."""
        path = path_of("rooms", room_id, "send", "m.room.message", txn)
        event_id = texted(await self.account.call("PUT", path, content), "event_id")
        if not event_id:
            raise Broken("the homeserver took a message and gave no event id")
        return event_id

    def _relation(self, address: Address, in_reply_to: str, *, direct: bool) -> tuple[str, str]:
        """The thread, and the event that is replied to: where two talk, nobody asks who is meant."""
        return address.thread, "" if direct and not address.thread else in_reply_to


def _words(outbound: Outbound) -> str:
    return "\n".join(part.text for part in outbound.parts if isinstance(part, Text) and part.text.strip())


def _remember(kept: dict[str, Any], key: str, value: Any) -> None:
    """Keep it, and not more than the newest."""
    if len(kept) >= KEPT:
        kept.pop(next(iter(kept)))
    kept[key] = value
