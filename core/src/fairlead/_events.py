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
    "AnswerDeferred",
    "AnswerDelivered",
    "AnswerSending",
    "ApprovalDecided",
    "ApprovalRequested",
    "ApprovalUsed",
    "Compacted",
    "CompactionUndone",
    "Corrected",
    "Decided",
    "DraftShown",
    "Event",
    "MessageAccepted",
    "ModelAnswered",
    "ModelFailed",
    "NoticeRaised",
    "ProviderHealth",
    "Record",
    "RolledBack",
    "SessionForked",
    "SessionStarted",
    "ToolReturned",
    "TurnEnded",
    "TurnStarted",
    "TurnSteered",
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
    priority: int = 0
    """Among the sessions of its class that wait for a place the higher goes first. Since: 1.1."""
    authors: tuple[Principal, ...] = ()
    """All who speak in it, where it sums up messages of several people. Empty: its author alone. Since: 1.1."""


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
class TurnSteered(Event):
    """Messages that arrived while a turn ran have joined it, before its next model call. Since: 1.1."""

    kind: ClassVar[str] = "turn_steered"
    turn: str
    messages: tuple[str, ...]
    """Ids of the accepted messages that joined; the turn answers them as well."""
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
    credential: str = ""
    """The name of the credential that was used; empty for the provider's only one. Since: 1.1."""


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
    """One word for programs, as in ``TurnFailed.reason``, or the rule that refused; ``policy:LAYER:RULE`` where one
    denied a request to a model."""
    usage: Usage = Usage()


@frozen(kw_only=True)
class AnswerSending(Event):
    """The outbox is about to send: without an `AnswerDelivered` behind it, nobody knows whether it arrived."""

    kind: ClassVar[str] = "answer_sending"
    turn: str
    attempt: int = 1


@frozen(kw_only=True)
class AnswerDeferred(Event):
    """The last try has surely not arrived, or may be repeated; the answer waits for the next one. Since: 1.1."""

    kind: ClassVar[str] = "answer_deferred"
    turn: str
    until: float
    """Unix seconds."""
    reason: str = ""


@frozen(kw_only=True)
class AnswerDelivered(Event):
    """The outbox is done with an answer."""

    kind: ClassVar[str] = "answer_delivered"
    turn: str
    status: Literal["sent", "ambiguous", "failed", "unknown"]
    """`unknown`: the process died while it was sending; it is not sent again by itself."""
    external_id: str = ""
    reason: str = ""


Cause = Literal["general", "rate_limit", "billing", "auth", "outage"]


@frozen(kw_only=True)
class ProviderHealth(Event):
    """How one credential of a provider, or one model with it, stands from now on. It is in no session of a person.

    Written only where it changes. Since: 1.1.
    """

    kind: ClassVar[str] = "provider_health"
    provider: str
    credential: str = ""
    """Its name; empty for the provider's only one, and for the whole provider (`cause` ``outage``)."""
    model: str = ""
    """Empty: all models of the credential."""
    cause: Cause
    failures: int
    """In a row, as they count for the cooldown; 0: it is well again."""
    until: float | None = None
    """Unix seconds until which it is asked only where nothing else is left; None: until its key is changed."""
    error: str = ""
    """The class name of the failure that began it."""
    mark: str = ""
    """A salted hash of the provider's settings, which tells whether the key was changed."""


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
class Compacted(Event):
    """From here on the model sees a shorter form of what was said before; nothing is removed from the session.

    It sees `summary`, then the items `pinned`, then those from `kept_from` on; old results before `cut_to` are cut.
    Since: 1.1.
    """

    kind: ClassVar[str] = "compacted"
    turn: str = ""
    """Empty between two turns."""
    summary: Message | None = None
    """None where old results were cut and nothing else."""
    kept_from: int = 0
    """Messages and results of the session are counted from 0."""
    pinned: tuple[int, ...] = ()
    """Messages before `kept_from` that stay whole: what the open turn answers."""
    cut_to: int = 0
    cut_chars: int = 0
    """Characters that are shown of each longer result before `cut_to`."""
    kept: dict[str, str] = field(factory=dict)
    """What stands in the summary word for word, and in those that follow: each line with its kind, ``name`` (also of a
    number or a place), ``question`` or ``decision``."""
    tokens_before: int = 0
    tokens_after: int = 0
    """Of the whole context: by the provider's figures where there are any, estimated for what came since."""
    provider: str = ""
    """Who wrote the summary; empty: it was drawn from the words by rule, and no model was asked."""
    model: str = ""
    usage: Usage = Usage()


@frozen(kw_only=True)
class CompactionUndone(Event):
    """The newest compaction does not hold any more. None follows by itself until one is asked for or must be.

    Since: 1.1.
    """

    kind: ClassVar[str] = "compaction_undone"


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
