"""Approvals in words: the question as it is shown, what is hidden in it made visible, and the answer as it is typed."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from typing import TYPE_CHECKING, Any

from attrs import frozen

from fairlead._message import Data, Message, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead._events import ApprovalRequested
    from fairlead._message import Part
    from fairlead._work import Verdict

__all__ = ["Choice", "digest_of", "expiry_of", "key_of", "new_approval_id", "notice_of", "question_of", "read_choice"]

_LETTERS = "abcdefghijkmnpqrstuvwxyz"
"""Without l and o, which look like digits."""
_LENGTH = 14
"""64 bits: an approval is a right, so nobody may guess its name."""
_SHOWN_CHARS = 2000
"""Characters of the arguments in a question; a chat takes a few thousand in one message."""
_CHOICE = re.compile(r"\s*/(approve|deny)(?:@\w+)?\s+([A-Za-z]+)(?:\s+(.*?))?\s*", re.DOTALL)
"""As bots of group chats are told it, the bot's name may follow the word."""
_BLANKS = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
"""Marks and letters that Unicode calls visible and that show nothing."""
_DECISIONS = ["allow", "deny"]


def new_approval_id() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def key_of(approval: str) -> str:
    """The key by which a journal finds an approval's session."""
    return f"approval\n{approval}"


def digest_of(facts: Any) -> str:
    """SHA-256 over canonical JSON: sorted keys, no spaces, ASCII."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False, default=dict)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _visible(text: str) -> str:
    r"""The text with everything that a screen obeys, reorders or leaves out spelled as in JSON: ``\u202e``."""
    return "".join(_spelled(char) for char in text)


def _spelled(char: str) -> str:
    selects = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
    if char == "`":  # it would end the frame of the question
        return "\\u0060"
    return json.dumps(char)[1:-1] if selects or char in _BLANKS or not char.isprintable() else char


def question_of(request: ApprovalRequested, verdict: Verdict, seconds: float, place: str) -> str:
    """What a person is asked: what will run, letter by letter, and how to answer."""
    told = json.dumps(request.arguments, ensure_ascii=False, indent=2)
    shown = "\n".join(_visible(line) for line in told.split("\n"))
    if left := len(shown[_SHOWN_CHARS:]):
        shown = f"{shown[:_SHOWN_CHARS]}\n... {left} more characters; all of it: fairlead approvals show {request.id}"
    whom = f" for {_visible(request.principal)}" if request.principal else ""
    why = f": {_visible(verdict.reason)}" if verdict.reason else ""
    return (
        f"May {request.tool} run{whom}, in the {place}? Rule {_visible(verdict.rule)!r} asks{why}\n"
        f"```\n{shown}\n```\n/approve {request.id}\n/deny {request.id}\n"
        f"Within {seconds / 60:.3g} minutes; then it is denied. Digest {request.digest}"
    )


def notice_of(request: ApprovalRequested) -> Message:
    """The question as it goes to the person, for programs also as data."""
    data = {"approval": request.id, "tool": request.tool, "digest": request.digest, "expires": request.expires}
    return Message("assistant", (Text(request.shown), Data({**data, "decisions": _DECISIONS})))


def expiry_of(request: ApprovalRequested) -> Message:
    """That nobody has answered it."""
    text = f"Nobody approved {request.tool} in time ({request.id}); it was denied."
    return Message("assistant", (Text(text), Data({"approval": request.id, "decision": "expired"})))


@frozen
class Choice:
    """What a person says to a question."""

    id: str
    granted: bool
    reason: str = ""


def read_choice(parts: Sequence[Part]) -> Choice | None:
    """The answer to a question: ``/approve ID``, ``/deny ID [REASON]``, or data of the form that questions carry."""
    first = parts[0] if len(parts) == 1 else None
    if isinstance(first, Text):
        found = _CHOICE.fullmatch(first.text) if first.text.lstrip().startswith(("/approve", "/deny")) else None
        return Choice(found[2].lower(), found[1] == "approve", found[3] or "") if found is not None else None
    value: Any = first.value if isinstance(first, Data) else None
    if isinstance(value, dict) and isinstance(value.get("approval"), str) and value.get("decision") in _DECISIONS:
        return Choice(value["approval"].lower(), value["decision"] == "allow", str(value.get("reason", "")))
    return None
