"""The events of a session: everything that happened to it, in order. A session is the fold over them.

An event is never changed or removed, except when a whole session is erased. New fields get a default; a new kind
of event is ignored by readers that do not know it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from attrs import field, frozen

from fairlead._message import Address, Message, Principal, ToolResult, Usage
from fairlead._work import Boundary, Draft, WorkClass

__all__ = [
    "AnswerDelivered",
    "AnswerSending",
    "ApprovalDecided",
    "ApprovalRequested",
    "ApprovalUsed",
    "Corrected",
    "Decided",
    "DraftShown",
    "Event",
    "MessageAccepted",
    "ModelAnswered",
    "ModelFailed",
    "NoticeRaised",
    "Record",
    "RolledBack",
    "SessionForked",
    "SessionStarted",
    "ToolReturned",
    "TurnEnded",
    "TurnStarted",
]


@frozen(kw_only=True)
class Event:
    """The base of all events."""

    kind: ClassVar[str] = ""
    at: float = 0.0
    """Unix seconds, by the clock of the process that wrote it."""


@frozen
class Record:
    """An event in its place. Versions of a session count from 1 without a gap; 0 is the empty session.

    Events that are only shown to observers and never kept (`DraftShown`, `NoticeRaised`) have version 0.
    """

    session: str
    version: int
    event: Event


@frozen(kw_only=True)
class SessionStarted(Event):
    """The first event of a session."""

    kind: ClassVar[str] = "session_started"
    agent: str
    address: Address | None = None
    """Where it is held; None for a session that the host application holds itself."""
    owner: str = ""
    """The id of the principal who began it: lists and searches are bounded by it."""


@frozen(kw_only=True)
class MessageAccepted(Event):
    """A message is ours now: it will be answered, refused with a notice, or cancelled."""

    kind: ClassVar[str] = "message_accepted"
    message: Message
    address: Address | None = None
    """Where the answer goes; None when the host application waits for it."""
    external_id: str = ""
    work_class: WorkClass = "interactive"
    key: str = ""
    """Unique in the whole journal: channel, account, conversation and external id. Empty: none."""


@frozen(kw_only=True)
class TurnStarted(Event):
    """The lane reached a message."""

    kind: ClassVar[str] = "turn_started"
    turn: str
    messages: tuple[str, ...]
    """Ids of the accepted messages that this turn answers."""
    revised: tuple[Message, ...] = ()
    """Those of them that a policy revised, as the model may see them."""


@frozen(kw_only=True)
class ModelAnswered(Event):
    """A model answered, with words, with calls, or with both."""

    kind: ClassVar[str] = "model_answered"
    turn: str
    message: Message
    provider: str
    model: str
    usage: Usage = Usage()
    finish: str = "stop"


@frozen(kw_only=True)
class ModelFailed(Event):
    """A model of the chain did not answer; the next one is tried, or the turn fails."""

    kind: ClassVar[str] = "model_failed"
    turn: str
    provider: str
    model: str
    error: str
    """The error's class name."""
    detail: str = ""
    partial: str = ""
    """What had already been shown of the answer."""


@frozen(kw_only=True)
class Corrected(Event):
    """The core told the model what was wrong with its answer, and asks again."""

    kind: ClassVar[str] = "corrected"
    turn: str
    message: Message


@frozen(kw_only=True)
class Decided(Event):
    """A policy decision: each about a tool call, and every other that was not a plain allow."""

    kind: ClassVar[str] = "decided"
    turn: str
    boundary: Boundary
    subject: str
    """The id of the message or call."""
    effect: Literal["allow", "revise", "ask", "deny"]
    rule: str
    layer: str
    policy: str = ""
    reason: str = ""


@frozen(kw_only=True)
class ApprovalRequested(Event):
    """A call waits for a person. What is approved is exactly what the digest is made of."""

    kind: ClassVar[str] = "approval_requested"
    turn: str
    id: str
    """Letters, to be typed; nobody can guess it."""
    call: str
    tool: str
    arguments: Any
    """As the call will be made, where it is."""
    principal: str = ""
    """The id of the person whose turn it is."""
    digest: str = ""
    """SHA-256 in hexadecimal, over tool, arguments, environment, session, principal and expiry."""
    shown: str = ""
    """The question as it is shown, with whatever could hide something in it spelled out."""
    approvers: tuple[str, ...] = ()
    """Ids of principals, and ``role:NAME``; empty for the person whose turn it is. The operator always may."""
    expires: float = 0.0
    """Unix seconds; from then on it is a denial."""
    key: str = ""
    """Unique in the whole journal, as `MessageAccepted.key`: so that the session is found by the approval."""


@frozen(kw_only=True)
class ApprovalDecided(Event):
    """An approval is given or not; the first decision counts."""

    kind: ClassVar[str] = "approval_decided"
    id: str
    granted: bool
    by: str = ""
    """The id of the principal who decided; empty where nobody did: it expired, or what would run has changed."""
    where: str = ""
    """From where: the channel's name, ``cli`` or ``host``."""
    reason: str = ""


@frozen(kw_only=True)
class ApprovalUsed(Event):
    """The call that was approved is made after this: one start is all that an approval is good for."""

    kind: ClassVar[str] = "approval_used"
    turn: str
    id: str


@frozen(kw_only=True)
class ToolReturned(Event):
    """A call has its result."""

    kind: ClassVar[str] = "tool_returned"
    turn: str
    result: ToolResult
    full: str = ""
    """The text up to 2,000,000 characters, where the result was cut."""
    seconds: float = 0.0


@frozen(kw_only=True)
class TurnEnded(Event):
    """A turn is over: the conservation law counts these."""

    kind: ClassVar[str] = "turn_ended"
    turn: str
    messages: tuple[str, ...]
    outcome: Literal["answered", "refused", "failed", "cancelled"]
    answer: Message | None = None
    """What goes to the channel, where it differs from the model's last message (a revised answer or a notice)."""
    address: Address | None = None
    in_reply_to: str = ""
    reason: str = ""
    """One word for programs, as in ``TurnFailed.reason``, or the rule that refused."""
    usage: Usage = Usage()


@frozen(kw_only=True)
class AnswerSending(Event):
    """The outbox is about to send: without an `AnswerDelivered` behind it, nobody knows whether it arrived."""

    kind: ClassVar[str] = "answer_sending"
    turn: str
    attempt: int = 1


@frozen(kw_only=True)
class AnswerDelivered(Event):
    """The outbox is done with an answer."""

    kind: ClassVar[str] = "answer_delivered"
    turn: str
    status: Literal["sent", "ambiguous", "failed", "unknown"]
    """`unknown`: the process died while it was sending; it is not sent again by itself."""
    external_id: str = ""
    reason: str = ""


@frozen(kw_only=True)
class RolledBack(Event):
    """The session continues from an earlier version; what lies between stays in the journal and is not seen."""

    kind: ClassVar[str] = "rolled_back"
    to_version: int


@frozen(kw_only=True)
class SessionForked(Event):
    """This session began as a copy of another one."""

    kind: ClassVar[str] = "session_forked"
    parent: str
    parent_version: int


@frozen(kw_only=True)
class DraftShown(Event):
    """For observers only: an answer grew, or a tool went on."""

    kind: ClassVar[str] = "draft_shown"
    draft: Draft
    principal: Principal | None = None


@frozen(kw_only=True)
class NoticeRaised(Event):
    """For observers and the operator only: something that needs a look."""

    kind: ClassVar[str] = "notice_raised"
    subject: str
    detail: str
    level: Literal["info", "warning", "error"] = "warning"
    fields: dict[str, str] = field(factory=dict)
