"""The configuration as frozen data. `_config_file` reads it from ``fairlead.toml``; a host may build it in code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from fairlead._work import Isolation

__all__ = ["Agent", "Binding", "Config", "Kind", "LaneLimits", "Limits", "ModelRef", "PluginConfig"]

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
    approval_seconds: float = 900.0
    """How long a call waits for a person who may approve it; then it is denied."""


@frozen
class LaneLimits:
    """Turns at once, by class of work and in all."""

    interactive: int = 1000
    background: int = 100
    subagent: int = 100
    total: int = 1100


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
