"""The hooks of Fairlead: how a plugin contributes workers of the five kinds.

A plugin is a module or an object, named by an entry point of the group of its kind (``fairlead.channels``,
``fairlead.tools``, ``fairlead.providers``, ``fairlead.memories``, ``fairlead.policies``), with functions marked
`hookimpl`. The module should be thin: it is imported when the app starts; what is heavy is imported in `Worker.open`.

Each hook's text has the same parts: when it is called, what its return values mean, whether the first or all results
count, its parameters, who may implement it, and since which version of the plugin API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from fairlead._contracts import Channel, Memory, Observer, Policy, Provider, Tool
    from fairlead._work import Settings

__all__ = [
    "API_VERSION",
    "GROUPS",
    "PROJECT",
    "fairlead_channels",
    "fairlead_memories",
    "fairlead_observers",
    "fairlead_policies",
    "fairlead_providers",
    "fairlead_tools",
    "hookimpl",
]

PROJECT = "fairlead"
API_VERSION = "1.1"
"""The version of all public modules, of what the hooks take and of the schemas: minor adds, major removes."""
GROUPS = {kind: f"{PROJECT}.{kind}" for kind in ("channels", "tools", "providers", "memories", "policies")}
"""Kind, as the configuration spells it, and the entry-point group where its plugins are found."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as an implementation of the hook of the same name."""


@hookspec
def fairlead_channels(settings: Settings) -> Sequence[Channel]:  # type: ignore[empty-body]  # a specification has no body
    """Contribute channels.

    When: once for each table ``[channels.NAME]`` that names this plugin, while the app starts.
    Returns: the channels of that table, made but not opened; an empty sequence for none.
    Results: all count, in the order of the configuration.
    Parameters: *settings*: name, validated options and data directory of that table.
    Implemented by: plugins of the group ``fairlead.channels``.
    Since: 1.0.
    """


@hookspec
def fairlead_tools(settings: Settings) -> Sequence[Tool]:  # type: ignore[empty-body]  # a specification has no body
    """Contribute tools.

    When: once for each table ``[tools.NAME]`` that names this plugin, while the app starts.
    Returns: the tool workers of that table, made but not opened; an empty sequence for none.
    Results: all count, in the order of the configuration; two tools of one name are refused.
    Parameters: *settings*: name, validated options and data directory of that table.
    Implemented by: plugins of the group ``fairlead.tools``.
    Since: 1.0.
    """


@hookspec
def fairlead_providers(settings: Settings) -> Sequence[Provider]:  # type: ignore[empty-body]  # a specification has no body
    """Contribute providers.

    When: once for each table ``[providers.NAME]`` that names this plugin, while the app starts.
    Returns: the providers of that table, made but not opened; an empty sequence for none.
    Results: all count; a chain of models names them by their table.
    Parameters: *settings*: name, validated options and data directory of that table.
    Implemented by: plugins of the group ``fairlead.providers``.
    Since: 1.0.
    """


@hookspec
def fairlead_memories(settings: Settings) -> Sequence[Memory]:  # type: ignore[empty-body]  # a specification has no body
    """Contribute memories.

    When: once for each table ``[memories.NAME]`` that names this plugin, while the app starts.
    Returns: the memories of that table, made but not opened; an empty sequence for none.
    Results: all count; the first one that offers a facet serves it.
    Parameters: *settings*: name, validated options and data directory of that table.
    Implemented by: plugins of the group ``fairlead.memories``.
    Since: 1.0.
    """


@hookspec
def fairlead_policies(settings: Settings) -> Sequence[Policy]:  # type: ignore[empty-body]  # a specification has no body
    """Contribute policies.

    When: once for each table ``[policies.NAME]`` that names this plugin, while the app starts.
    Returns: the policies of that table, made but not opened; an empty sequence for none.
    Results: all count; the strongest verdict of all of them results.
    Parameters: *settings*: name, validated options and data directory of that table.
    Implemented by: plugins of the group ``fairlead.policies``.
    Since: 1.0.
    """


@hookspec
def fairlead_observers(settings: Settings) -> Sequence[Observer]:  # type: ignore[empty-body]  # a specification has no body
    """Contribute observers of the stream of events.

    When: once for each table of any kind that names this plugin, while the app starts.
    Returns: the observers of that table, made but not opened; an empty sequence for none.
    Results: all count; none of them can change anything or delay the path.
    Parameters: *settings*: name, validated options and data directory of that table.
    Implemented by: plugins of any group.
    Since: 1.0.
    """
