"""The entry point of all five kinds, and an observer."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Channel, Memory, Observer, Policy, Provider, Settings, Tool
from fairlead.hookspecs import hookimpl

from . import workers

__all__ = [
    "fairlead_channels",
    "fairlead_memories",
    "fairlead_observers",
    "fairlead_policies",
    "fairlead_providers",
    "fairlead_tools",
]


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    """A channel that says what its table says, and keeps the answers in a file."""
    return [workers.Talker(settings.options.get("says", ()), settings.data_dir / "answers.txt")]


@hookimpl
def fairlead_tools(settings: Settings) -> Sequence[Tool]:
    """A tool that counts letters."""
    token = settings.options.get("token")
    return [workers.Letters(token.reveal() if token is not None else "")]


@hookimpl
def fairlead_providers(settings: Settings) -> Sequence[Provider]:
    """A model that asks the tool, and then says what it said."""
    return [workers.Rules()]


@hookimpl
def fairlead_memories(settings: Settings) -> Sequence[Memory]:
    """A memory with both facets."""
    return [workers.Shelf()]


@hookimpl
def fairlead_policies(settings: Settings) -> Sequence[Policy]:
    """A policy that allows the tool, and knows one person."""
    return [workers.Gate()]


@hookimpl
def fairlead_observers(settings: Settings) -> Sequence[Observer]:
    """An observer that keeps the kinds of events in a file."""
    return [workers.Counter(settings.data_dir / "events.txt")]
