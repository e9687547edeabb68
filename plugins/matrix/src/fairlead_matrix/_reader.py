"""An event of a room as a message for the core; or as nothing, where it is not for us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define

from fairlead import Address, Inbound, Principal, Text
from fairlead_matrix._account import Account
from fairlead_matrix._api import Refused, path_of
from fairlead_matrix._content import mentions, thread_of, unaddressed, unquoted
from fairlead_matrix._json import mapped, texted
from fairlead_matrix._media import KINDS, Media
from fairlead_matrix._rooms import Room, Rooms

__all__ = ["Reader"]

LONGEST_ID = 255
"""Bytes of a user id, a room id or an event id."""
_WORDS = {"m.text", "m.emote", "m.location"}
"""Not ``m.notice``: that is what programs say to each other, and answering it makes loops."""


@define(eq=False)
class Reader:
    """Reads what people say in the rooms of one account."""

    account: Account
    rooms: Rooms
    media: Media

    async def read(self, room_id: str, event: Mapping[str, Any]) -> Inbound | None:
        """None: the event is not for us. Errors: those of `Account.call`, but for `Refused`: then we are not there."""
        sender, event_id = texted(event, "sender"), texted(event, "event_id")
        content = mapped(event, "content")
        if event.get("type") != "m.room.message" or sender == self.account.user_id or "state_key" in event:
            return None
        if not _is_id(sender, "@") or not _is_id(event_id, "$") or not _is_id(room_id, "!"):
            return None
        try:
            thread, reply_to = thread_of(content), self._answered(content)
            if mapped(content, "m.relates_to").get("rel_type") == "m.replace":
                reply_to, content, thread = await self._edited(room_id, sender, content)
            if texted(content, "msgtype") not in _WORDS | KINDS:
                return None
            room = await self.rooms.get(room_id)
        except Refused:
            return None
        body = self._asked(room, content, event)
        if body is None:
            return None
        parts = await self._parts(content, body, room.names.get(sender, "") or sender)
        if not parts:
            return None
        options = self.account.options
        author = Principal(
            f"{options.name}:{sender}", room.names.get(sender, ""), ("direct" if room.direct else "group",)
        )
        where = Address(options.name, self.account.user_id, room_id, thread)
        return Inbound(where, author, parts, event_id, reply_to)

    def _answered(self, content: Mapping[str, Any]) -> str:
        relation = mapped(content, "m.relates_to")
        if relation.get("is_falling_back") is True:
            return ""  # for clients without threads only
        found = texted(relation, "m.in_reply_to", "event_id")
        return found if _is_id(found, "$") else ""

    async def _edited(
        self, room_id: str, sender: str, content: Mapping[str, Any]
    ) -> tuple[str, Mapping[str, Any], str]:
        """What is edited, its new content, and its thread, which the edit does not say. Empty where it is not taken."""
        target = texted(content, "m.relates_to", "event_id")
        if self.account.options.edits == "ignore" or not _is_id(target, "$"):
            return "", {}, ""
        first = await self.account.call("GET", path_of("rooms", room_id, "event", target))
        if texted(first, "sender") != sender:  # nobody edits what others said
            return "", {}, ""
        return target, mapped(content, "m.new_content"), thread_of(mapped(first, "content"))

    def _asked(self, room: Room, content: Mapping[str, Any], event: Mapping[str, Any]) -> str | None:
        """The words that are for us; None where the message is not."""
        body = texted(content, "body")
        if mapped(event, "content", "m.relates_to", "m.in_reply_to"):
            body = unquoted(body)
        if texted(content, "msgtype") in KINDS:
            named = texted(content, "filename")
            body = body if named and named != body else ""  # else it is the file's name, and no words
        if room.encrypted:
            return None  # where nothing could be answered
        if room.direct or self.account.options.groups == "all":
            return body
        user_id = self.account.user_id
        name = room.names.get(user_id, "")
        if self.account.options.groups == "off" or not mentions(content, body, user_id, name):
            return None
        return unaddressed(body, user_id, name)

    async def _parts(self, content: Mapping[str, Any], body: str, name: str) -> tuple[Any, ...]:
        if texted(content, "msgtype") == "m.emote":
            body = f"* {name} {body}"
        words = (Text(body),) if body.strip() else ()
        return (*words, await self.media.fetch(content)) if texted(content, "msgtype") in KINDS else words


def _is_id(text: str, sigil: str) -> bool:
    return text.startswith(sigil) and len(text.encode()) <= LONGEST_ID and text.isprintable()
