"""Files: what people send is fetched within limits; what the agent sends is uploaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from attrs import define

from fairlead import Audio, File, Image, Text
from fairlead_matrix._account import Account
from fairlead_matrix._api import Broken, Refused, TooLarge, path_of
from fairlead_matrix._json import mapped, texted

__all__ = ["KINDS", "Media"]

KINDS = {"m.image", "m.audio", "m.video", "m.file"}
NOT_FOUND = 404
MEDIA_SECONDS = 60.0

_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+_-]{0,80}")
_PLACE = re.compile(r"mxc://([A-Za-z0-9.:\[\]-]{1,255})/([A-Za-z0-9_-]{1,255})")
_ANY = "application/octet-stream"


@define(eq=False)
class Media:
    """The media repository, in the name of one account."""

    account: Account

    async def fetch(self, content: Mapping[str, Any]) -> Image | Audio | File | Text:
        """The file of a message, or words that say why it was not taken. `Unreachable`: try again later."""
        options = self.account.options
        name = texted(content, "filename") or texted(content, "body") or "file"
        kind, size = _sound(texted(content, "info", "mimetype")), mapped(content, "info").get("size")
        place = _PLACE.fullmatch(texted(content, "url"))
        if place is None:
            return _untaken(name, "it has no place to be fetched from")
        if isinstance(size, int) and size > options.media_bytes:
            return _untaken(name, f"it has {size} bytes, at most {options.media_bytes} are taken")
        try:
            data, served = await self._download(place.group(1), place.group(2))
        except TooLarge:
            return _untaken(name, f"it has more than {options.media_bytes} bytes")
        except (Broken, Refused) as error:
            return _untaken(name, f"it could not be fetched: {error.problem[:200]}")
        kind = (
            _sound(served) if _sound(served) != _ANY else kind
        )  # the server has seen the file, its sender chose the words
        if not any(fnmatchcase(kind, wanted) for wanted in options.media_types):
            return _untaken(name, f"files of type {kind} are not taken")
        if kind.startswith("image/"):
            return Image(kind, data, alt=name)
        return Audio(kind, data) if kind.startswith("audio/") else File(name, kind, data)

    async def _download(self, server: str, media_id: str) -> tuple[bytes, str]:
        """By the endpoint of authenticated media (1.11); servers that are older have only the other one."""
        limits: dict[str, Any] = {"seconds": MEDIA_SECONDS, "most": self.account.options.media_bytes, "follow": True}
        try:
            return await self.account.exchange(
                "GET", path_of("media", "download", server, media_id, root="client/v1"), **limits
            )
        except Refused as refused:
            if refused.status != NOT_FOUND or refused.errcode != "M_UNRECOGNIZED":
                raise
        return await self.account.exchange("GET", path_of("download", server, media_id, root="media/v3"), **limits)

    async def publish(self, part: Image | Audio | File) -> dict[str, Any]:
        """Upload a file; the content of the message that shows it. The errors of `Account.exchange`."""
        kind, data = _sound(part.media_type), part.data or b""
        ending = kind.partition("/")[2].partition("+")[0]
        family = kind.partition("/")[0] if kind.partition("/")[0] in {"image", "audio", "video"} else "file"
        name = part.name if isinstance(part, File) else f"{family}.{ending}"
        found = await self.account.call(
            "POST",
            path_of("upload", root="media/v3"),
            data,
            params={"filename": name},
            kind=kind,
            seconds=MEDIA_SECONDS,
        )
        url = texted(found, "content_uri")
        if not _PLACE.fullmatch(url):
            raise Broken(f"the upload of {name!r} gave no place: {url[:100]!r}")
        alt = part.alt if isinstance(part, Image) else part.transcript if isinstance(part, Audio) else ""
        return {
            "msgtype": f"m.{family}",
            "body": alt or name,
            "filename": name,
            "url": url,
            "info": {"mimetype": kind, "size": len(data)},
            "m.mentions": {},
        }


def _sound(kind: str) -> str:
    """A media type that can be looked at; whatever else it may be is just bytes."""
    kind = kind.partition(";")[0].strip().lower()
    return kind if _TYPE.fullmatch(kind) else _ANY


def _untaken(name: str, why: str) -> Text:
    return Text(f"[{name[:200]}: not taken, {why}]")
