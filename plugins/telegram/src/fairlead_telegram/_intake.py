"""From an update to the inbox: what is for us is handed in, what came with it is fetched, who was refused is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import trio
from attrs import define, evolve, field

from fairlead import Audio, File, Image, Inbound, Inbox, Receipt, Text
from fairlead.errors import SchemaError
from fairlead.types import Part
from fairlead_telegram._api import Api, ApiError, Refused
from fairlead_telegram._keyboards import Keyboards
from fairlead_telegram._options import Options
from fairlead_telegram._people import People
from fairlead_telegram._updates import Attachment, Bot, Press, Said, Update, read_message, read_press

__all__ = ["Intake"]

NOTICE_SECONDS = 60.0
"""A person who is refused is told so once in this time."""
DOWNLOAD_TRIES = 3
MOST_POPUP_CHARS = 200
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError)

log = logging.getLogger(__name__)


@define(eq=False)
class Intake:
    """Takes updates to the inbox. When `take` returns, the journal has what they said, and Telegram may forget them."""

    options: Options
    bot: Bot
    people: People
    _api: Api
    _keyboards: Keyboards
    _inbox: Inbox
    _told: dict[str, float] = field(factory=dict)
    """Who was told that they are refused, and when."""

    async def take(self, updates: Sequence[Update]) -> None:
        """One update, or the messages of one album. `JournalUnavailable`: it must come again."""
        update = updates[0]
        try:
            if update.kind == "callback_query":
                press = read_press(update.body, self.bot)
                if press is not None:
                    await self._press(press)
                return
            found = [self._read(each) for each in updates]
        except MALFORMED as error:
            log.warning("update %s is malformed and was left out: %s", update.id, type(error).__name__)
            return
        said = [each for each in found if each is not None]
        if any(self._is_wanted(each) for each in said):
            await self._message(said)

    def _read(self, update: Update) -> Said | None:
        """A message of a kind that is taken."""
        options, revision = self.options, ""
        if update.kind == "edited_message" and options.edited:
            revision = f":{update.body['edit_date']}"
        elif update.kind != "message" and not (update.kind == "channel_post" and options.channel_posts):
            if update.kind == "my_chat_member":
                log.info("chat %s: the bot is now %s", update.chat, update.body["new_chat_member"]["status"])
            return None
        if update.kind == "channel_post":
            body = {"sender_chat": update.body["chat"], **update.body}
            said = read_message(body, self.bot)
            return evolve(said, private=True) if said is not None else None  # the option is all that it takes
        return read_message(update.body, self.bot, revision)

    def _is_wanted(self, said: Said) -> bool:
        """Of an album one message is enough, which has the words."""
        groups = self.options.groups
        return said.private or said.moved is not None or groups == "all" or (groups == "mention" and said.for_us)

    async def _message(self, said: list[Said]) -> None:
        """An album is one message: its first one's place and id, all its files."""
        first = said[0]
        if first.moved is not None:
            await self.people.moved(*first.moved)
            return
        parts: list[Part] = [Text(text) for each in said for text in each.texts]
        left = self.options.max_media_bytes
        for attachment in [attachment for each in said for attachment in each.attachments]:
            parts.append(await self._fetch(attachment, left))
            left -= len(getattr(parts[-1], "data", b""))
        if parts:
            await self._hand_in(first, parts)

    async def _hand_in(
        self, said: Said, parts: Sequence[Part], external_id: str = "", *, shown: bool = True
    ) -> Receipt:
        """`shown`: what the core says of it is written into the chat."""
        key = external_id or said.external_id
        inbound = Inbound(self.people.address(said, self.bot), said.author, tuple(parts), key, said.reply_to)
        # Before: the answer may be faster than the receipt.
        self.people.wrote(key, said.author)
        try:
            receipt = await self._inbox.accept(inbound)
        except SchemaError as error:
            # Coming again would not mend it.
            log.warning("message %s was not taken: %s", key, error.problem)
            receipt = Receipt("refused", notice="This message could not be taken.")
        if receipt.notice and shown:
            await self._tell(said, receipt.notice, known=receipt.status == "accepted")
        if receipt.status == "accepted" and receipt.message and self.options.streaming:
            thread = int(said.thread) if said.thread else None
            action = {"chat_id": said.chat, "action": "typing", "message_thread_id": thread}
            await self._try("sendChatAction", action)
        return receipt

    async def _tell(self, said: Said, notice: str, *, known: bool = False) -> None:
        now, who = trio.current_time(), f"{said.chat} {said.author.id}"
        self._told = {each: at for each, at in self._told.items() if now - at < NOTICE_SECONDS}
        if who in self._told and not known:
            return
        self._told[who] = now
        words: dict[str, Any] = {"chat_id": said.chat, "text": notice[:2000]}
        if said.thread:
            words["message_thread_id"] = int(said.thread)
        if not said.private:
            words["reply_parameters"] = {
                "message_id": int(said.external_id.split(":")[1]),
                "allow_sending_without_reply": True,
            }
        await self._try("sendMessage", words)

    async def _press(self, press: Press) -> None:
        """A press is a message of who pressed; Telegram waits to be told that it was noticed."""
        said = press.said
        person = int(said.author.id.rpartition(":")[2])
        value, problem = self._keyboards.pressed(press.data, said.chat, person)
        if not problem:
            # What a group's message says decides nothing here: the button was for this person.
            pressed, shared = evolve(said, reply_to=said.external_id), self._keyboards.is_shared(press.data)
            key = f"{said.external_id}:press:{press.id}"
            receipt = await self._hand_in(pressed, [Text(value)], key, shown=not shared)
            problem = receipt.notice if shared else ""
            if receipt.status == "accepted" or not shared:  # who may not decide leaves the buttons to who may
                await self._keyboards.close(press.data)
                message = int(said.external_id.split(":")[1])
                await self._try("editMessageReplyMarkup", {"chat_id": said.chat, "message_id": message})
        text = problem[:MOST_POPUP_CHARS] or None
        await self._try("answerCallbackQuery", {"callback_query_id": press.id, "text": text})

    async def _try(self, method: str, params: dict[str, Any]) -> None:
        """A call for comfort: the message is kept, whatever becomes of it."""
        try:
            await self._api.call(method, params)
        except ApiError as error:
            log.info("%s", error)

    async def _fetch(self, attachment: Attachment, limit: int) -> Part:
        """A file as a part, or words that say why not. Telegram gives files of up to 20 MB."""
        if attachment.size > limit:
            return Text(f"[{attachment.name}: {attachment.size} bytes, more than is taken here]")
        for _ in range(DOWNLOAD_TRIES):
            try:
                found = await self._api.call("getFile", {"file_id": attachment.file_id})
                data = await self._api.download(str(found["file_path"]), limit)
            except Refused as error:
                return Text(f"[{attachment.name}: it could not be fetched ({error})]")
            except (ApiError, *MALFORMED):
                continue
            if attachment.media_type.startswith("image/"):
                return Image(attachment.media_type, data, alt=attachment.alt)
            if attachment.media_type.startswith("audio/"):
                return Audio(attachment.media_type, data)
            return File(attachment.name, attachment.media_type, data)
        return Text(f"[{attachment.name}: it could not be fetched]")
