"""The configuration as frozen data. `_config_file` reads it from ``fairlead.toml``; a host may build it in code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from fairlead._work import Isolation, Mode

__all__ = [
    "Agent",
    "Binding",
    "Compaction",
    "Config",
    "Kind",
    "LaneLimits",
    "Limits",
    "ModelRef",
    "PluginConfig",
    "SessionLimits",
]

Kind = Literal["channels", "tools", "providers", "memories", "policies"]


@frozen
class PluginConfig:
    """One table ``[KIND.NAME]``: a plugin that is enabled."""

    kind: Kind
    name: str
    """The worker's name; unique within its kind."""
    plugin: str = ""
    """The entry point's name, where it differs from `name`: two servers of one protocol are two tables."""
    isolation: Isolation | None = None
    """Where it shall run; None for the default of its kind. ``host`` is a statement of trust."""
    options: Mapping[str, Any] = field(factory=dict, repr=False)
    """The plugin's own keys; what was read from the environment or a file is a `Secret`. Not shown: a secret may stand
    here in plain text."""
    hosts: tuple[str, ...] = ()
    """``host:port`` that it may reach where it runs isolated, with ``*`` for one label. Empty: none."""
    listen: tuple[str, ...] = ()
    """``address:port`` of the host at which its own listener is reached where it runs isolated. Empty: nowhere."""
    optional: bool = False
    """Named by the default configuration only: no fault where it is not installed."""

    @property
    def entry_point(self) -> str:
        return self.plugin or self.name


@frozen
class ModelRef:
    """One link of a chain of models."""

    provider: str
    """The name of a table ``[providers.NAME]``."""
    model: str
    """Empty for the first one that the provider lists."""
    credential: str = ""
    options: Mapping[str, Any] = field(factory=dict)


def _names(given: Iterable[str] | None) -> tuple[str, ...] | None:
    """A list from a file becomes what cannot change."""
    return None if given is None else tuple(given)


@frozen
class Agent:
    """Who answers: instructions, a model and the tools it may see."""

    name: str = "main"
    model: str = "default"
    """An alias of ``[models]``, or ``provider/model``."""
    instructions: str = ""
    tools: tuple[str, ...] | None = field(default=None, converter=_names)
    """Names, with ``*`` at the end for a family; None for all."""
    mode: Mode = "follow-up"
    """What a message does that arrives while others of its conversation wait or are answered. Since: 1.1."""


@frozen
class Binding:
    """Which agent gets which conversation. Empty means any; the most specific wins, a tie is refused at load."""

    agent: str
    channel: str = ""
    account: str = ""
    conversation: str = ""
    peer: str = ""
    """A principal's id."""
    role: str = ""
    mode: Mode | None = None
    """For the messages that match; None for the agent's. Since: 1.1."""


@frozen
class Limits:
    """What one turn may use, and what the core takes in."""

    steps: int = 20
    """Model calls of one turn."""
    tokens: int | None = None
    """Input and output of one turn, as the provider counts them."""
    seconds: float = 600.0
    """One turn, without the time it waits in its lane."""
    tool_seconds: float = 60.0
    review_seconds: float = 5.0
    """All policies together at one boundary."""
    corrections: int = 3
    """How often in one turn a model is shown what was wrong with its arguments or its result."""
    result_chars: int = 20_000
    """Longer results of tools are cut for the model; the journal keeps up to 2,000,000 characters."""
    message_bytes: int = 10_000_000
    """One inbound message with its media."""
    queue: int = 50
    """Messages that wait in one session."""
    grace_seconds: float = 20.0
    """How long turns may go on after the app was asked to stop."""
    queue_full: Literal["refuse-newest", "drop-oldest", "summarise"] = "refuse-newest"
    """What becomes of one more: it is not taken, or the oldest makes room, or all that wait become one short message.
    Since: 1.1."""
    warn_seconds: float = 120.0
    """A turn without progress for so long is told to the operator. Since: 1.1."""
    stall_seconds: float = 300.0
    """A turn without progress for so long is ended as failed. Since: 1.1."""

    approval_seconds: float = 900.0
    """How long a call waits for a person who may approve it; then it is denied. Since: 1.1."""


@frozen
class Compaction:
    """When and how the older part of a session gives way to a summary for the model. The journal keeps all of it."""

    at: float = 0.8
    """The part of the model's window that, once filled, makes it begin. 0: only by command, or where a provider refuses
    a request as too large."""
    window: int | None = None
    """Tokens that count as the window at most, which saves money where a model's is huge. None: what the provider says,
    or 100,000 where it does not."""
    keep_tokens: int = 16_000
    """Of the newest messages that stay whole; at most a third of the window."""
    model: str = ""
    """Who writes the summary: an alias of ``[models]``, or ``provider/model``. Empty: the model of the turn."""
    result_chars: int = 2_000
    """Before anything is summed up, older results of tools are cut to so many characters. 0: never."""
    result_turns: int = 3
    """The results of so many newest turns are not cut."""


@frozen
class SessionLimits:
    """How large and how old a session may get. Nothing is limited where nothing is set."""

    max_events: int | None = None
    """Then a message is refused, with the command that helps. There is a notice from nine tenths on."""
    retention_days: float | None = None
    """Sessions that nobody used for longer expire: `fairlead sessions prune`, and once a day in an app that serves."""
    on_expiry: Literal["archive", "erase"] = "archive"


@frozen
class LaneLimits:
    """Turns at once, by class of work and in all."""

    interactive: int = 1000
    background: int = 100
    subagent: int = 100
    total: int = 1100
    reserved_interactive: int | None = None
    """How many of `total` the other classes together leave to interactive work; None for a quarter. Since: 1.1."""


@frozen
class Config:
    """Everything that the configuration says. `Config()` enables nothing: the embedded minimum."""

    profile: Literal["development", "production"] = "development"
    data_dir: Path = field(factory=Path)
    plugins: tuple[PluginConfig, ...] = ()
    """In the order of the file."""
    models: Mapping[str, tuple[ModelRef, ...]] = field(factory=dict)
    """Alias to chain. Without ``default`` the first model of the first provider is the default."""
    agents: tuple[Agent, ...] = (Agent(),)
    """The first one answers where no binding says otherwise."""
    bindings: tuple[Binding, ...] = ()
    limits: Limits = Limits()
    lanes: LaneLimits = LaneLimits()
    isolation: Mapping[str, Any] = field(factory=dict)
    """The table ``[isolation]``, for the isolator."""
    file: str = ""
    """Where it was read from; empty for the default."""
    compaction: Compaction = Compaction()
    sessions: SessionLimits = SessionLimits()
