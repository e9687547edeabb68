"""What passes between the core and the workers: requests, answers, deliveries, reviews."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from fairlead._message import Address, Message, Part, Principal, ToolCall, ToolResult, Usage, new_id

__all__ = [
    "Boundary",
    "Capabilities",
    "Delivery",
    "Delta",
    "Draft",
    "Effect",
    "Emit",
    "Finding",
    "Inbound",
    "Isolation",
    "Mode",
    "ModelAnswer",
    "ModelInfo",
    "ModelRequest",
    "Note",
    "Outbound",
    "Progress",
    "Receipt",
    "Review",
    "Secret",
    "Settings",
    "ToolSpec",
    "Verdict",
    "WorkClass",
]

Effect = Literal["read", "idempotent", "once"]
"""`read` changes nothing; `idempotent` may run again with the same call id; `once` must never run twice."""
Isolation = Literal["host", "process", "container", "kernel"]
"""Where code runs, from weakest to strongest."""
WorkClass = Literal["interactive", "background", "subagent"]
Mode = Literal["follow-up", "steer", "collect", "interrupt"]
"""What a message does that arrives while others of its conversation wait or are answered. Since: 1.1."""
Boundary = Literal["message_in", "model_request", "tool_call", "tool_result", "message_out"]


class Secret:
    """A value that must not be shown. Its text appears only through `reveal`."""

    __slots__ = ("_value", "source")

    def __init__(self, value: str, source: str = "") -> None:
        self._value = value
        self.source = source
        """Where it was read from, for error messages: ``env OPENAI_API_KEY``."""

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return f"Secret(from {self.source})" if self.source else "Secret()"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled or copied into a message")


@frozen
class Settings:
    """What a plugin is given when it makes its workers."""

    name: str
    """The worker's name in the configuration: ``[providers.NAME]``."""
    options: Mapping[str, Any] = field(factory=dict)
    """The plugin's own keys of that table, validated against the schema of its manifest; secrets are `Secret`."""
    data_dir: Path = field(factory=Path)
    """A directory of the app; a plugin that keeps files makes one of its own name in it when it is opened."""
    profile: str = "development"


@frozen
class Finding:
    """One line of ``fairlead doctor``."""

    subject: str
    ok: bool
    detail: str
    next_step: str = ""
    """The command that mends it."""


# -- channels


@frozen
class Capabilities:
    """What a channel can do, so that the core never sends it what it cannot."""

    max_chars: int | None = None
    """The longest text of one message, in characters; None for no limit. Longer answers are split by the core."""
    markup: Literal["plain", "markdown", "html"] = "plain"
    streaming: bool = False
    """`preview` shows an answer while it grows."""
    edits: bool = False
    """A sent message can be replaced with `edit`."""
    threads: bool = False
    media: frozenset[str] = frozenset()
    """Media types it can send, with ``image/*`` for a whole family; empty for text only.

    ``application/json`` by name: it takes `Data` parts as they are, which are put into words for all others.
    """
    idempotency: bool = False
    """`send` with an `Outbound.id` that was already sent has no second effect, so an ambiguous send may be repeated."""


@frozen
class Inbound:
    """A message as it came to a channel."""

    address: Address
    author: Principal
    parts: tuple[Part, ...]
    external_id: str = ""
    """The platform's id of this event, unique in its conversation: the same twice is one message. Empty: unknown."""
    reply_to: str = ""
    """The platform's id of the message that this one answers."""
    work_class: WorkClass = "interactive"
    priority: int = 0
    """Among the sessions of its class that wait for a place the higher goes first. Since: 1.1."""


@frozen
class Receipt:
    """What became of an inbound message. Once the channel has it, the platform may be acknowledged."""

    status: Literal["accepted", "duplicate", "refused"]
    session: str = ""
    message: str = ""
    """The message's id in the session."""
    notice: str = ""
    """Words for the sender: why it was refused; or, where it was accepted and has no `message`, what it did at once (it
    decided about an approval): no turn answers it. Since 1.1."""


@frozen
class Outbound:
    """A message that a channel shall show."""

    id: str
    """The same for every try: an idempotency key."""
    address: Address
    parts: tuple[Part, ...]
    in_reply_to: str = ""
    """The `external_id` of the message that is answered."""
    kind: Literal["answer", "notice"] = "answer"
    session: str = ""


@frozen
class Delivery:
    """What the channel knows of a sent message."""

    status: Literal["sent", "ambiguous", "failed"]
    """`ambiguous`: it may or may not have arrived. `failed`: it has surely not arrived."""
    external_id: str = ""
    """The platform's id. ``sent`` without one is recorded as ambiguous, unless the channel takes an idempotency key."""
    reason: str = ""
    retry_after: float | None = None
    """For ``failed``: seconds after which another try makes sense; None for never."""


@frozen
class Progress:
    """How far one tool call is."""

    call: str
    tool: str
    status: Literal["running", "done", "failed", "denied"]
    detail: str = ""
    """What the tool says of itself while it runs, then the beginning of its result."""
    arguments: Any = None
    evidence: Mapping[str, Any] = field(factory=dict)
    """Once it has run outside the host: the result's."""


@frozen
class Draft:
    """An answer while it grows: always the whole text so far, so that one that was skipped is not missed."""

    id: str
    """The id that the `Outbound` will have."""
    address: Address
    text: str = ""
    tools: tuple[Progress, ...] = ()
    in_reply_to: str = ""
    """As the `Outbound` will have it."""


# -- providers


@frozen
class ModelInfo:
    """A model that a provider offers. Prices in US dollars for a million tokens; None where unknown."""

    name: str
    window: int | None = None
    """The most tokens of input and output together."""
    max_output: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    tools: bool = True
    images: bool = False


@frozen
class ToolSpec:
    """A tool as the model sees it, and as the core must treat it."""

    name: str
    """Letters, digits, ``_`` and ``-``, at most 64 (what every provider accepts)."""
    description: str
    parameters: Mapping[str, Any] = field(factory=lambda: {"type": "object", "properties": {}})
    """JSON Schema 2020-12 of the arguments, an object."""
    effect: Effect = "once"
    isolation: Isolation = "container"
    """The floor: a weaker place is refused."""
    timeout: float | None = None
    """Seconds for one call; None takes the limit of the configuration."""
    parallel: bool = True
    """May run beside other calls of the same answer."""


@frozen
class ModelRequest:
    """One question to a model."""

    model: str
    """The provider's own name of it."""
    history: Sequence[Message | ToolResult]
    """Oldest first; a view that never changes, though the session goes on. Copy nothing of it that you need not."""
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    session: str = ""
    credential: str = ""
    """Which of the provider's credentials to use; empty for its only one."""
    output_schema: Mapping[str, Any] | None = None
    """The answer shall be one JSON value of this schema."""
    max_output_tokens: int | None = None
    options: Mapping[str, Any] = field(factory=dict)
    """What the configuration sets for the model beyond that: ``temperature`` and the like."""
    id: str = field(factory=new_id)


@frozen
class Delta:
    """A piece of an answer while it comes."""

    text: str
    kind: Literal["text", "reasoning"] = "text"


@frozen
class ModelAnswer:
    """A whole answer. The text of the deltas of kind ``text``, joined, equals the text of the message."""

    parts: tuple[Part, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish: Literal["stop", "tools", "length", "refused"] = "stop"
    model: str = ""
    """What the provider says answered."""


Emit = Callable[[Delta], Awaitable[None]]
"""Awaited by a provider for each piece; it waits while the reader is slow."""


# -- policies


@frozen
class Review:
    """One crossing of a boundary that policies are asked about."""

    boundary: Boundary
    subject: Message | ModelRequest | ToolCall | ToolResult
    session: str = ""
    agent: str = ""
    principal: Principal | None = None
    address: Address | None = None
    tool: ToolSpec | None = None
    """The tool's spec, for ``tool_call`` and ``tool_result``."""
    provider: str = ""
    """For ``model_request``: who will be asked. Each request to a model is a crossing, also a fallback's."""
    model: ModelInfo | None = None
    """For ``model_request``: what the provider says of the model, prices and window among it; None where nothing."""


@frozen
class Verdict:
    """A policy's answer. No verdict at all is an abstention."""

    effect: Literal["allow", "revise", "ask", "deny"]
    """``ask``, for an approval, only at ``tool_call``."""
    rule: str
    """The name of the rule that decided, for people: one line of at most 200 characters."""
    layer: Literal["app", "agent", "channel", "person"] = "app"
    reason: str = ""
    """Why, in words that may be shown to the sender and to the model; at most 4,000 characters."""
    revised: Message | ModelRequest | ToolCall | ToolResult | None = None
    """For ``revise``: the subject as it may pass."""
    policy: str = ""
    """The policy's name; the engine fills it in."""
    approvers: tuple[str, ...] = ()
    """For ``ask``: who may approve, ids of principals and ``role:NAME``. Empty: the person whose turn it is.

    Since 1.1.
    """


# -- memory


@frozen
class Note:
    """Something worth recalling."""

    text: str
    scope: str
    """Whose it is: a principal's id. A search never leaves its scope."""
    id: str = field(factory=new_id)
    at: float = 0.0
    """Unix seconds."""
    tags: tuple[str, ...] = ()
    score: float = 0.0
    """In results: higher is nearer; comparable within one search only."""
