"""The words of events: how a message of ours is written, and how one of a person is read. No network."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from fairlead_matrix._json import listed, mapped, texted
from fairlead_matrix._markdown import to_html

__all__ = [
    "MOST_BYTES",
    "fits",
    "mentions",
    "place",
    "replacement",
    "shortened",
    "text_event",
    "thread_of",
    "unaddressed",
    "unquoted",
]

MOST_BYTES = 60_000
"""Of one content: a whole event has at most 65,536 (client-server API, "Size limits"), with its signatures."""
_GLIMPSE = 200
"""Characters of a replacement that clients without replacements are shown, where all of them are too many."""


def text_event(text: str, msgtype: str) -> dict[str, Any]:
    """The content of a message. The plain body is the Markdown itself. It mentions nobody, whatever it says."""
    body = text.replace("\x00", "\ufffd")  # which databases of homeservers cannot keep
    content: dict[str, Any] = {"msgtype": msgtype, "body": body, "m.mentions": {}}
    formatted = to_html(body)
    if formatted:
        content |= {"format": "org.matrix.custom.html", "formatted_body": formatted}
    return content if fits(content) else _plain(content)


def place(content: Mapping[str, Any], thread: str, reply_to: str) -> dict[str, Any]:
    """The same content in its thread, as a reply."""
    relation: dict[str, Any] = {"m.in_reply_to": {"event_id": reply_to}} if reply_to else {}
    if thread:
        # Clients without threads show it as a reply to the newest message there.
        relation |= {"rel_type": "m.thread", "event_id": thread, "is_falling_back": True}
        relation.setdefault("m.in_reply_to", {"event_id": thread})
    return {**content, "m.relates_to": relation} if relation else dict(content)


def replacement(event_id: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of an edit: the new form, and words for clients that know no edits. It stays where the first was."""
    new = {key: value for key, value in content.items() if key != "m.relates_to"}
    edit = {
        "msgtype": content["msgtype"],
        "body": f"* {content['body']}",
        "m.mentions": {},
        "m.new_content": new,
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }
    if not fits(edit):
        edit["body"] = f"* {shortened(content['body'], _GLIMPSE)}"
    if not fits(edit):
        edit["m.new_content"] = _plain(new)
    return edit


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in {"format", "formatted_body"}}


def fits(content: Mapping[str, Any]) -> bool:
    """Whether a homeserver takes an event with this content."""
    return len(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")) <= MOST_BYTES


def shortened(text: str, most: int) -> str:
    """At most that many characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


# -- what people write


def thread_of(content: Mapping[str, Any]) -> str:
    """The event id of the thread's root; empty outside of threads."""
    relation = mapped(content, "m.relates_to")
    return texted(relation, "event_id") if relation.get("rel_type") == "m.thread" else ""


def unquoted(body: str) -> str:
    """The body of a reply without the fallback, which quotes what is answered (in the specification until 1.12)."""
    if not body.startswith("> <@") and not body.startswith("> * <@"):
        return body
    lines = body.split("\n")
    first = next((place for place, line in enumerate(lines) if not line.startswith("> ") and line != ">"), len(lines))
    return "\n".join(lines[first:]).lstrip("\n") or body


def mentions(content: Mapping[str, Any], body: str, user_id: str, name: str) -> bool:
    """Whether a message is for this user: by its list, a link to the user, or the name among its words."""
    if user_id in listed(content, "m.mentions", "user_ids"):
        return True
    if user_id in _links(texted(content, "formatted_body")):
        return True
    return any(_named(body, word) for word in (user_id, name) if word)


def _links(formatted: str) -> set[str]:
    return {html.unescape(found).replace("%40", "@").replace("%3A", ":") for found in _LINK.findall(formatted)}


_LINK = re.compile(r'href="https://matrix\.to/#/([^"/?]{1,300})"')


def _named(body: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", body, re.IGNORECASE) is not None


def unaddressed(body: str, user_id: str, name: str) -> str:
    """The body without the name before it: ``Bot: what time is it?`` asks for the time."""
    for word in (user_id, name):
        found = re.match(rf"\s*@?{re.escape(word)}(?:[:,]\s*|\s+)(?=\S)", body, re.IGNORECASE) if word else None
        if found:
            return body[found.end() :]
    return body
