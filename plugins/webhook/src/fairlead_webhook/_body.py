"""JSON as it stands in requests, to an `Inbound`, and an `Outbound` to JSON. The truth is in the two schemas."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from fairlead import Address, Audio, Data, File, Image, Inbound, Outbound, Principal, Text
from fairlead.errors import SchemaError
from fairlead.wire import check, loads, structure, unstructure

__all__ = ["Arrival", "dump", "parse", "render"]

KINDS: dict[str, Any] = {"text": Text, "image": Image, "audio": Audio, "file": File, "data": Data}
TYPES = {cls: kind for kind, cls in KINDS.items()}


@frozen
class Arrival:
    """A request that is authentic and has the right form."""

    inbound: Inbound
    wait: float = 0.0
    """Seconds that the sender wants to wait for the answer in the response."""


def parse(channel: str, body: bytes) -> Arrival:
    """A message from the body of a request.

    `SchemaError`: the body is no JSON (``schema`` is then ``json``), or the value at ``path`` is not what
    ``webhook-message`` asks for.
    """
    value = loads(body)
    check("webhook-message", value)
    author = value["author"]
    if "text" in value:
        parts: tuple[Any, ...] = (Text(value["text"]),)
    else:
        parts = tuple(_part(index, raw) for index, raw in enumerate(value["parts"]))
    # The reply URL is an account of its own: so it is part of the address, and survives in the journal until the answer
    # is sent, perhaps by another process.
    address = Address(channel, value.get("reply_url", ""), value["conversation"], value.get("thread", ""))
    principal = Principal(f"{channel}:{author['id']}", author.get("name", ""), tuple(author.get("roles", ())))
    return Arrival(Inbound(address, principal, parts, external_id=value["id"]), value.get("wait", 0.0))


def _part(index: int, raw: dict[str, Any]) -> Any:
    try:
        return structure({key: value for key, value in raw.items() if key != "type"}, KINDS[raw["type"]])
    except SchemaError as error:
        path = f"/parts/{index}"
        raise SchemaError(f"at {path}: {error.problem}", schema="webhook-message", path=path) from None


def render(outbound: Outbound) -> dict[str, Any]:
    """An answer as plain JSON values, of the schema ``webhook-answer``."""
    return {
        "id": outbound.id,
        "conversation": outbound.address.conversation,
        "thread": outbound.address.thread,
        "in_reply_to": outbound.in_reply_to,
        "kind": outbound.kind,
        "text": "\n".join(part.text for part in outbound.parts if isinstance(part, Text)),
        "parts": [_plain(part) for part in outbound.parts],
        "session": outbound.session,
    }


def _plain(part: Any) -> dict[str, Any]:
    plain = unstructure(part)
    plain.pop("origin", None)  # where a part came from is for policies, not for the other side
    return {"type": TYPES[type(part)], **plain}


def dump(value: Any) -> bytes:
    """JSON in UTF-8, as it is sent and signed."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
