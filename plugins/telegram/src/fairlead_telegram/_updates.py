"""What Telegram reports, read with distrust: an update to what was said, by whom, where, and whether it is for us.

https://core.telegram.org/bots/api#update
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from fairlead import Address, Principal

__all__ = ["Attachment", "Bot", "Press", "Said", "Update", "place_id", "read_message", "read_press", "read_update"]

KINDS = ("message", "edited_message", "channel_post", "callback_query", "my_chat_member")
"""What is asked for. Telegram sends no other kinds then; any that comes all the same is skipped."""
PRIVATE = "private"


@frozen
class Bot:
    """Who we are."""

    id: int
    username: str


@frozen
class Update:
    """One report: its kind is one of `KINDS`."""

    id: int
    kind: str
    body: Mapping[str, Any]

    @property
    def group(self) -> str:
        """What an album's messages have in common; empty for a message alone."""
        found = self.body.get("media_group_id") if self.kind in ("message", "channel_post") else None
        return f"{self.chat}/{found}" if isinstance(found, str) else ""

    @property
    def chat(self) -> int:
        """What is in order within itself."""
        message = self.body.get("message") if self.kind == "callback_query" else self.body
        chat = message.get("chat") if isinstance(message, dict) else None
        found = chat.get("id") if isinstance(chat, dict) else None
        return found if isinstance(found, int) else 0


@frozen
class Attachment:
    """A file that can be fetched."""

    file_id: str
    size: int
    media_type: str
    name: str
    alt: str = ""


@frozen
class Said:
    """A message that somebody wrote where we are."""

    chat: int
    private: bool
    thread: str
    author: Principal
    external_id: str
    reply_to: str
    texts: tuple[str, ...]
    attachments: tuple[Attachment, ...]
    for_us: bool
    """It is in a private chat, or it mentions the bot, answers it, or is a command for it."""
    moved: tuple[int, int] | None = None
    """The group's number so far, and the supergroup's that it has now."""

    def address(self, channel: str, bot: Bot, conversation: str) -> Address:
        # The bot is a part of the address: another bot's chat with the same person has the same number.
        return Address(channel, str(bot.id), conversation, self.thread)


@frozen
class Press:
    """Somebody has pressed a button."""

    id: str
    data: str
    said: Said
    """The message that has the button, as if the person had written it."""


def place_id(chat: int, message: int) -> str:
    """The id of a message: unique, also where a group has become a supergroup and counts anew."""
    return f"{chat}:{message}"


def read_update(value: Any) -> Update | None:
    """None: it has no number, or nothing of the kinds that we know."""
    if not isinstance(value, dict) or not isinstance(value.get("update_id"), int):
        return None
    kind = next((kind for kind in KINDS if isinstance(value.get(kind), dict)), "")
    return Update(value["update_id"], kind, value.get(kind, {}))


def read_press(body: Mapping[str, Any], bot: Bot) -> Press | None:
    """None: it belongs to no message that we could answer below. `KeyError`, `TypeError`, ...: it is malformed."""
    message, data = body.get("message"), body.get("data")
    if not isinstance(message, dict) or not isinstance(data, str):
        return None
    said = read_message({**message, "from": body["from"], "sender_chat": None}, bot)
    return Press(str(body["id"]), data, said) if said is not None else None


def read_message(body: Mapping[str, Any], bot: Bot, revision: str = "") -> Said | None:
    """None: nobody has said anything in it. `KeyError`, `TypeError`, ...: it is malformed."""
    chat, message = _number(body["chat"]["id"]), _number(body["message_id"])
    private = body["chat"].get("type") == PRIVATE
    author = _author(body, private=private)
    if author is None:
        return None
    answered = body.get("reply_to_message") or {}
    # In a topic every message seems to answer the one that has opened it.
    answered = {} if "forum_topic_created" in answered else answered
    texts = tuple(_sound(str(text)) for text in (body.get("text"), body.get("caption"), _in_words(body)) if text)
    return Said(
        chat=chat,
        private=private,
        thread=str(_number(body["message_thread_id"])) if body.get("is_topic_message") else "",
        author=author,
        external_id=place_id(chat, message) + revision,
        reply_to=place_id(chat, _number(answered["message_id"])) if answered else "",
        texts=texts,
        attachments=tuple(_attachments(body)),
        for_us=private or (answered.get("from") or {}).get("id") == bot.id or _mentions(body, bot),
        moved=_moved(body, chat),
    )


def _moved(body: Mapping[str, Any], chat: int) -> tuple[int, int] | None:
    """Telegram says it in both chats, and in the new one before anything else."""
    if "migrate_to_chat_id" in body:
        return chat, _number(body["migrate_to_chat_id"])
    return (_number(body["migrate_from_chat_id"]), chat) if "migrate_from_chat_id" in body else None


def _author(body: Mapping[str, Any], *, private: bool) -> Principal | None:
    """Who speaks. Whoever writes in the name of a chat is that chat: its members share one account of Telegram's."""
    role = ("direct" if private else "group",)
    chat = body.get("sender_chat")
    if body.get("is_automatic_forward"):
        return None
    if isinstance(chat, dict):
        return Principal(f"telegram:{_number(chat['id'])}", _sound(str(chat.get("title", ""))), role)
    person = body.get("from")
    if not isinstance(person, dict) or person.get("is_bot"):
        return None  # two bots that answer each other do not end
    names = [str(person.get(key) or "") for key in ("first_name", "last_name")]
    return Principal(f"telegram:{_number(person['id'])}", _sound(" ".join(filter(None, names))), role)


def _mentions(body: Mapping[str, Any], bot: Bot) -> bool:
    name = f"@{bot.username}".casefold()
    for key, source in (("entities", "text"), ("caption_entities", "caption")):
        # Offsets count UTF-16 code units.
        raw = str(body.get(source) or "").encode("utf-16-le", "surrogatepass")
        for entity in body.get(key) or ():
            start, length = 2 * _number(entity["offset"]), 2 * _number(entity["length"])
            words = raw[start : start + length].decode("utf-16-le", "replace").casefold()
            if entity.get("type") == "mention" and words == name:
                return True
            if entity.get("type") == "bot_command" and words.endswith(name):
                return True
            if entity.get("type") == "text_mention" and (entity.get("user") or {}).get("id") == bot.id:
                return True
    return False


_FILES = {  # key of the message: media type and name, where Telegram tells none
    "voice": ("audio/ogg", "voice.ogg"),
    "audio": ("audio/mpeg", "audio.mp3"),
    "animation": ("video/mp4", "animation.mp4"),  # which also comes as a document, so it stands before that
    "video": ("video/mp4", "video.mp4"),
    "video_note": ("video/mp4", "video.mp4"),
    "document": ("application/octet-stream", "file"),
}
_STICKERS = {"is_animated": ("application/gzip", "sticker.tgs"), "is_video": ("video/webm", "sticker.webm")}


def _attachments(body: Mapping[str, Any]) -> list[Attachment]:
    if body.get("photo"):  # the same picture in several sizes, the largest last
        return [_attachment(body["photo"][-1], "image/jpeg", "photo.jpg")]
    if sticker := body.get("sticker"):
        usual = next((usual for key, usual in _STICKERS.items() if sticker.get(key)), ("image/webp", "sticker.webp"))
        return [_attachment(sticker, *usual)]
    return [_attachment(body[key], *usual) for key, usual in _FILES.items() if body.get(key)][:1]


def _attachment(found: Mapping[str, Any], media_type: str, name: str) -> Attachment:
    return Attachment(
        str(found["file_id"]),
        _size(found),
        _media_type(found.get("mime_type"), media_type),
        _sound(str(found.get("file_name") or name)),
        _sound(str(found.get("emoji") or "")),
    )


def _media_type(found: object, usual: str) -> str:
    return found if isinstance(found, str) and found.isascii() and "/" in found else usual


def _size(found: Mapping[str, Any]) -> int:
    size = found.get("file_size")
    return size if isinstance(size, int) else 0


def _in_words(body: Mapping[str, Any]) -> str:
    """What is neither text nor a file, as text."""
    if isinstance(place := body.get("venue") or body.get("location"), dict):
        where = place.get("location") or place
        name = " ".join(str(place[key]) for key in ("title", "address") if place.get(key))
        return f"[location: {where.get('latitude')}, {where.get('longitude')}{f', {name}' if name else ''}]"
    if isinstance(contact := body.get("contact"), dict):
        names = " ".join(str(contact[key]) for key in ("first_name", "last_name", "phone_number") if contact.get(key))
        return f"[contact: {names}]"
    if isinstance(poll := body.get("poll"), dict):
        options = "; ".join(str(option.get("text")) for option in poll.get("options") or ())
        return f"[poll: {poll.get('question')}: {options}]"
    if isinstance(dice := body.get("dice"), dict):
        return f"[{dice.get('emoji')} {dice.get('value')}]"
    return ""


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a number, found {type(value).__name__}")
    return value


def _sound(text: str) -> str:
    """Lone surrogates become U+FFFD: JSON can write them, the journal cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
