"""What one answer becomes: messages of text, files, and buttons below the last of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from attrs import field, frozen

from fairlead import Audio, Data, File, Image, Text
from fairlead.types import Part
from fairlead_telegram._api import Upload
from fairlead_telegram._keyboards import Button, approval_of, buttons_of
from fairlead_telegram._markup import Piece, pieces_of

__all__ = ["Letter", "Media", "compose"]

PHOTO_BYTES = 10_000_000
"""A larger picture is sent as a file."""
PHOTOS = ("image/jpeg", "image/png", "image/webp")
VOICES = ("audio/ogg", "audio/opus")
SONGS = ("audio/mpeg", "audio/mp4", "audio/x-m4a", "audio/mp3")
ENDINGS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "audio/ogg": "ogg",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
}
CAPTION_CHARS = 500


@frozen
class Media:
    """One file as it is sent."""

    method: str
    key: str
    """The parameter that has the file: ``photo``."""
    upload: Upload | None
    url: str
    caption: str


@frozen
class Letter:
    pieces: Sequence[Piece] = ()
    media: Sequence[Media] = ()
    buttons: Sequence[Sequence[Button]] = field(factory=tuple)
    shared: bool = False
    """They ask for an approval, so the core says who may press them."""


def compose(parts: Sequence[Part], *, markdown: bool) -> Letter:
    """An answer's parts as what can be sent."""
    texts: list[str] = []
    media: list[Media] = []
    buttons: list[list[Button]] = []
    shared = False
    for part in parts:
        if isinstance(part, Text):
            texts.append(part.text)
        elif (asked := approval_of(part)) is not None:
            buttons, shared = [*buttons, *asked], True
        elif isinstance(part, Data):
            found = buttons_of(part)
            buttons += found
            if not found:
                texts.append(_as_text(part.value, markdown=markdown))
        else:
            media.append(_media(part))
    if buttons and not texts and not media:
        texts.append("…")  # buttons need something to stand below
    return Letter(pieces_of("\n".join(texts), markdown=markdown), media, buttons, shared)


def as_choices(letter: Letter, *, markdown: bool) -> Letter:
    """The same with the buttons' words as text, for where nobody could press them."""
    names = "\n".join(f"- {text}" for row in letter.buttons for text, _ in row)
    return Letter([*letter.pieces, *pieces_of(names, markdown=markdown)], letter.media)


def _as_text(value: Any, *, markdown: bool) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return f"```json\n{text}\n```" if markdown else text


def _media(part: Image | Audio | File) -> Media:
    data, media_type = part.data or b"", part.media_type
    method, key = "sendDocument", "document"
    if isinstance(part, Image) and media_type in PHOTOS and len(data) <= PHOTO_BYTES:
        method, key = "sendPhoto", "photo"
    elif isinstance(part, Audio) and media_type in VOICES:
        method, key = "sendVoice", "voice"
    elif isinstance(part, Audio) and media_type in SONGS:
        method, key = "sendAudio", "audio"
    name = part.name if isinstance(part, File) and part.name else f"{key}.{ENDINGS.get(media_type, 'bin')}"
    caption = part.alt if isinstance(part, Image) else part.transcript if isinstance(part, Audio) else ""
    upload = Upload(name.replace("/", "_"), data, media_type) if part.data is not None else None
    return Media(method, key, upload, part.url or "", caption[:CAPTION_CHARS])
