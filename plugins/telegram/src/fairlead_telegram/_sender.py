"""Out: an answer that grows is one message that is edited; its last form, and what does not fit, is sent once.

The Bot API knows no idempotency key, so a call whose answer is lost leaves open whether the message is there. An edit
can be repeated; it says "not modified" where it was done before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import trio
from attrs import define, field

from fairlead import Delivery, Draft, Outbound
from fairlead_telegram._api import Api, ApiError, Refused, Unreached, Unsure
from fairlead_telegram._keyboards import ANYBODY, Keyboards
from fairlead_telegram._letter import Letter, Media, as_choices, compose
from fairlead_telegram._markup import Piece, pieces_of
from fairlead_telegram._options import Options
from fairlead_telegram._pace import Pace
from fairlead_telegram._people import People, Place
from fairlead_telegram._state import State
from fairlead_telegram._updates import place_id

__all__ = ["Sender"]

AGAIN_SECONDS = 2.0
"""After which the core may come again, where Telegram could not be reached; four times as long for each further time,
so that the core's few tries go over minutes."""
LONGEST_AGAIN = 300.0
LONGEST_WAIT = 60.0
"""Seconds that the later messages of one answer wait for their turn, where Telegram asks for it."""
EDIT_TRIES = 3
EDIT_PAUSE = 1.0
TYPING_SECONDS = 4.0
"""Telegram shows "typing" for five."""
DRAFT_CHARS = 3500
DRAFT_SECONDS = 4.0
"""For one call of a preview, which is not cut off: below the five in which a channel stops."""
EMPTY = Piece("…", "…")
GONE = ("message to edit not found", "message can't be edited", "message_id_invalid")
UNREADABLE = ("can't parse entities", "message is too long", "entities_too_long")


@define(eq=False)
class Sender:
    """Sends to one bot's chats."""

    options: Options
    people: People
    _api: Api
    _state: State
    _keyboards: Keyboards
    _pace: Pace = field(factory=Pace)
    _mute: dict[str, bool] = field(factory=dict)
    """Answers whose preview has failed in a way that must not be repeated."""
    _misses: dict[str, int] = field(factory=dict)
    """How often Telegram could not be reached for an answer."""
    _typed: dict[int, float] = field(factory=dict)
    """When a chat was last told that an answer is being made."""
    _shown: dict[str, str] = field(factory=dict)
    """The last form of each draft, as HTML."""

    @property
    def _markdown(self) -> bool:
        return self.options.markup == "markdown"

    # -- the answer

    async def send(self, outbound: Outbound) -> Delivery:
        """Show an answer. After a preview it becomes the last form of the message that grew."""
        place = self.people.place(outbound.address)
        if place is None:
            return Delivery("failed", reason=f"{outbound.address.conversation!r} is no chat of Telegram's")
        letter, markup = await self._letter(outbound, place)
        if not letter.pieces and not letter.media:
            return Delivery("failed", reason="nothing in it can be shown")
        draft = self._draft(outbound.id, place)
        sent: list[int] = []
        try:
            await self._send_all(outbound, place, letter, markup, draft, sent)
        except ApiError as error:
            return self._fault(error, place, sent, outbound.id)
        self._misses.pop(outbound.id, None)
        self._shown.pop(outbound.id, None)
        await self._state.drop("drafts", outbound.id)
        return Delivery("sent", external_id=_written(self.people.current(place).chat, sent))

    async def edit(self, delivery: Delivery, outbound: Outbound) -> Delivery:
        """Replace the messages of an answer: each is edited, more are sent, those too many are removed."""
        place = self.people.place(outbound.address)
        chat, _, ids = delivery.external_id.partition(":")
        old = [int(each) for each in ids.split("+") if each.isdigit()]
        if place is None or not old or chat != str(place.chat):
            return Delivery("failed", reason=f"{delivery.external_id!r} is no message of this chat")
        letter, markup = await self._letter(outbound, place)
        if not letter.pieces:
            return Delivery("failed", reason="nothing in it can be shown")
        new: list[int] = []
        try:
            for number, piece in enumerate(letter.pieces):
                below = markup if number == len(letter.pieces) - 1 else None
                if number < len(old):
                    await self._edit(place, old[number], piece, below)
                    new.append(old[number])
                else:
                    new.append(await self._later(self._say, place, piece, "", below))
            for surplus in old[len(letter.pieces) :]:
                await self._later(self._call, place, "deleteMessage", {"message_id": surplus})
        except ApiError as error:
            return self._fault(error, place, new, outbound.id)
        return Delivery("sent", external_id=_written(place.chat, new))

    async def _letter(self, outbound: Outbound, place: Place) -> tuple[Letter, Mapping[str, Any] | None]:
        letter = compose(outbound.parts, markdown=self._markdown)
        if not letter.buttons:
            return letter, None
        person = ANYBODY if letter.shared else self.people.writer(place, outbound.in_reply_to)
        if person is None:  # nobody knows for whom they would be, so they are for nobody
            return as_choices(letter, markdown=self._markdown), None
        return letter, await self._keyboards.show(letter.buttons, place.chat, person)

    async def _send_all(
        self,
        outbound: Outbound,
        place: Place,
        letter: Letter,
        markup: Mapping[str, Any] | None,
        draft: int | None,
        sent: list[int],
    ) -> None:
        """`sent` grows with what has surely arrived, also where this fails."""
        last = len(letter.pieces) + len(letter.media) - 1
        if draft is not None and not letter.pieces:
            await self._forget(place, draft)
        contents: list[Piece | Media] = [*letter.pieces, *letter.media]
        for number, content in enumerate(contents):
            below = markup if number == last else None
            answered = outbound.in_reply_to if number == 0 else ""
            if number == 0 and draft is not None and isinstance(content, Piece):
                same = below is None and self._shown.get(outbound.id) == content.html
                if same or await self._finish(place, draft, content, below):
                    sent.append(draft)
                    continue
            if sent:
                sent.append(await self._later(self._put, place, content, answered, below))
            else:
                sent.append(await self._put(place, content, answered, below))

    async def _put(self, place: Place, content: Piece | Media, answered: str, markup: Mapping[str, Any] | None) -> int:
        """Send one message of either kind; its number."""
        if isinstance(content, Piece):
            return await self._say(place, content, answered, markup)
        return await self._send_media(place, content, answered, markup)

    async def _finish(self, place: Place, draft: int, piece: Piece, markup: Mapping[str, Any] | None) -> bool:
        """The draft becomes the answer; False where somebody has removed it meanwhile."""
        try:
            await self._edit(place, draft, piece, markup)
        except Refused as error:
            if not any(words in error.problem.lower() for words in GONE):
                raise
            return False
        return True

    async def _forget(self, place: Place, draft: int) -> None:
        try:
            await self._call(place, "deleteMessage", {"message_id": draft})
        except ApiError:
            return  # it stays, with words that were true when they were shown

    async def _later(self, call: Any, *args: Any) -> Any:
        """A call behind one that has arrived: the answer cannot be tried anew as a whole, so this waits its turn."""
        while True:
            try:
                return await call(*args)
            except Refused as error:
                if error.retry_after is None or error.retry_after > LONGEST_WAIT:
                    raise
                await trio.sleep(error.retry_after)

    def _fault(self, error: ApiError, place: Place, sent: Sequence[int], outbound: str) -> Delivery:
        reason = str(error)
        if sent:
            return Delivery("ambiguous", _written(place.chat, sent), f"message {len(sent) + 1}: {reason}")
        if isinstance(error, Unsure):
            return Delivery("ambiguous", reason=reason)
        if isinstance(error, Refused):
            if error.retry_after is not None:
                self._pace.hold(place.chat, error.retry_after)
            return Delivery("failed", reason=reason, retry_after=error.retry_after)
        misses = self._misses.pop(outbound, 0)
        self._misses[outbound] = misses + 1
        _bound(self._misses)
        return Delivery("failed", reason=reason, retry_after=min(LONGEST_AGAIN, AGAIN_SECONDS * 4.0**misses))

    # -- one message

    async def _say(self, place: Place, piece: Piece, answered: str, markup: Mapping[str, Any] | None) -> int:
        """Send one message; its number. Markup that Telegram cannot read surely has not arrived, so its words go."""
        params = {**self._around(place, answered), "reply_markup": markup}
        return _number_of(await self._formed(place, "sendMessage", params, piece))

    async def _edit(self, place: Place, message: int, piece: Piece, markup: Mapping[str, Any] | None) -> None:
        """Change one message. What is lost on the way is tried again: the same edit twice is one."""
        params = {"message_id": message, "reply_markup": markup}
        lost: ApiError | None = None
        for _ in range(EDIT_TRIES):
            try:
                await self._formed(place, "editMessageText", params, piece)
            except Refused as error:
                if "not modified" not in error.problem:
                    raise
            except (Unsure, Unreached) as error:
                # Where one of them may have arrived, it stays open whether it has.
                lost = lost if isinstance(lost, Unsure) else error
                await trio.sleep(EDIT_PAUSE)
                continue
            return
        if lost is not None:
            raise lost

    async def _formed(self, place: Place, method: str, params: Mapping[str, Any], piece: Piece) -> Any:
        preview = {"link_preview_options": {"is_disabled": True}} if not self.options.link_previews else {}
        if self._markdown:
            try:
                return await self._call(place, method, {**params, **preview, "text": piece.html, "parse_mode": "HTML"})
            except Refused as error:
                if not any(words in error.problem.lower() for words in UNREADABLE):
                    raise
        return await self._call(place, method, {**params, **preview, "text": piece.plain})

    async def _send_media(self, place: Place, media: Media, answered: str, markup: Mapping[str, Any] | None) -> int:
        params = {**self._around(place, answered), "caption": media.caption or None, "reply_markup": markup}
        if media.upload is None:
            return _number_of(await self._call(place, media.method, {**params, media.key: media.url}))
        return _number_of(await self._call(place, media.method, params, {media.key: media.upload}))

    def _around(self, place: Place, answered: str) -> dict[str, Any]:
        around: dict[str, Any] = {"message_thread_id": place.thread}
        chat, _, message = answered.partition(":")
        message = message.partition(":")[0]
        wanted = self.options.replies == "all" or (self.options.replies == "groups" and not place.private)
        if wanted and chat == str(place.chat) and message.isdigit():
            around["reply_parameters"] = {"message_id": int(message), "allow_sending_without_reply": True}
        return around

    async def _call(self, place: Place, method: str, params: Mapping[str, Any], files: Any = None) -> Any:
        place = self.people.current(place)
        self._pace.spend(place.chat)
        try:
            return await self._api.call(method, {"chat_id": place.chat, **params}, files)
        except Refused as error:
            # Neither has done anything, so it can be done elsewhere.
            if error.moved_to is not None:
                await self.people.moved(place.chat, error.moved_to)
                params = {"chat_id": error.moved_to, **params}
            elif "thread not found" in error.problem and params.get("message_thread_id"):
                params = {"chat_id": place.chat, **params, "message_thread_id": None}
            else:
                raise
        return await self._api.call(method, params, files)

    # -- the draft

    async def preview(self, draft: Draft) -> None:
        """Show an answer that grows, as fast as the chat may be written to. Without text yet: that it is being made."""
        place = self.people.place(draft.address)
        if place is None or draft.id in self._mute:
            return
        if not draft.text.strip():
            await self._type(place)
            return
        piece = self._piece(draft.text)
        if piece is None or self._shown.get(draft.id) == piece.html:
            return
        await self._pace.wait(self.people.current(place).chat)
        # Not cut off in the middle: a draft whose number is not known would stay beside the answer, and an edit that is
        # on its way could come after it.
        with trio.CancelScope(shield=True), trio.move_on_after(DRAFT_SECONDS) as scope:
            await self._show(place, draft, piece)
        if scope.cancelled_caught:
            self._mute_draft(draft.id)

    async def _show(self, place: Place, draft: Draft, piece: Piece) -> None:
        message = self._draft(draft.id, place)
        self._shown.pop(draft.id, None)  # until it is known what becomes of this
        try:
            if message is None:
                # Words come into it only once its number is kept: whatever happens, they are not shown twice.
                message = await self._say(place, EMPTY, draft.in_reply_to, None)
                await self._state.put("drafts", draft.id, [self.people.current(place).chat, message])
            await self._formed(place, "editMessageText", {"message_id": message}, piece)
        except Refused as error:
            if error.retry_after is not None:
                self._pace.hold(place.chat, error.retry_after)
            elif "not modified" not in error.problem:
                self._mute_draft(draft.id)
            return
        except ApiError:
            if message is None:
                self._mute_draft(draft.id)  # it may be there; a second one would be worse than none
            return
        self._shown[draft.id] = piece.html
        _bound(self._shown)

    async def _type(self, place: Place) -> None:
        now = trio.current_time()
        if now - self._typed.get(place.chat, -TYPING_SECONDS) < TYPING_SECONDS:
            return
        self._typed = {chat: at for chat, at in self._typed.items() if now - at < TYPING_SECONDS} | {place.chat: now}
        params = {"chat_id": place.chat, "action": "typing", "message_thread_id": place.thread}
        try:
            await self._api.call("sendChatAction", params)
        except ApiError:
            return  # the answer will tell

    def _piece(self, text: str) -> Piece | None:
        """The text, or the end of one that is too long for one message."""
        if len(text) > DRAFT_CHARS:
            text = "… " + text[-DRAFT_CHARS:]
        return next(reversed(pieces_of(text, markdown=self._markdown)), None)

    def _draft(self, outbound: str, place: Place) -> int | None:
        """The number of a draft; none where the chat has moved, and counts its messages anew."""
        match self._state.get("drafts", outbound):
            case [int(chat), int(message)] if chat == self.people.current(place).chat:
                return message
        return None

    def _mute_draft(self, outbound: str) -> None:
        self._mute[outbound] = True
        _bound(self._mute)


MOST = 500
"""Answers that something is remembered of."""


def _bound(table: dict[str, Any]) -> None:
    """The oldest go first."""
    while len(table) > MOST:
        del table[next(iter(table))]


def _number_of(result: Any) -> int:
    """The number of a message that was sent."""
    found = result.get("message_id") if isinstance(result, dict) else None
    if not isinstance(found, int):
        raise Unsure("Telegram has answered without the number of the message")
    return found


def _written(chat: int, messages: Sequence[int]) -> str:
    """The id of an answer: its chat and all its messages."""
    return place_id(chat, messages[0]) + "".join(f"+{each}" for each in messages[1:])
