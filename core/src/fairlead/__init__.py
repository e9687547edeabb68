"""Fairlead: agents, led along one checked path.

This package is the embeddable core. Its public modules, and who may import what:

    fairlead              what hosts and authors of plugins need; at most 40 names
    fairlead.errors       the tree of errors
    fairlead.events       the events of a session
    fairlead.hookspecs    the hooks by which plugins contribute workers
    fairlead.memory       the facets of a memory
    fairlead.config       the configuration: data and file
    fairlead.plugins      what is installed, without importing it
    fairlead.wire         JSON at the boundaries
    fairlead.types        types that only annotations need
    fairlead.testing      fakes and conformance kits

Modules with an underscore are private to this package. Their floors, from low to high: errors; data (`_message`,
`_work`, `_events`, `_config`); contracts; codec and schemas; the parts of the engine; the turn; the app. A module
imports only from its own floor or a lower one; import-linter holds that.
"""

import importlib
from typing import TYPE_CHECKING

from fairlead._contracts import Channel, Inbox, Memory, Observer, Policy, Provider, Tool, ToolContext
from fairlead._message import (
    Address,
    Audio,
    Data,
    File,
    Image,
    Message,
    Origin,
    Principal,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from fairlead._work import (
    Capabilities,
    Delivery,
    Delta,
    Draft,
    Finding,
    Inbound,
    ModelAnswer,
    ModelInfo,
    ModelRequest,
    Outbound,
    Receipt,
    Review,
    Secret,
    Settings,
    ToolSpec,
    Verdict,
)

if TYPE_CHECKING:
    from fairlead._app import App, Reply
    from fairlead._function import tool
    from fairlead._open import open_app as open  # noqa: A004  # `fairlead.open` is what a host types

__all__ = [
    "Address",
    "App",
    "Audio",
    "Capabilities",
    "Channel",
    "Data",
    "Delivery",
    "Delta",
    "Draft",
    "File",
    "Finding",
    "Image",
    "Inbound",
    "Inbox",
    "Memory",
    "Message",
    "ModelAnswer",
    "ModelInfo",
    "ModelRequest",
    "Observer",
    "Origin",
    "Outbound",
    "Policy",
    "Principal",
    "Provider",
    "Receipt",
    "Reply",
    "Review",
    "Secret",
    "Settings",
    "Text",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolResult",
    "ToolSpec",
    "Usage",
    "Verdict",
    "open",
    "tool",
]


def __getattr__(name: str) -> object:
    """The engine comes when it is first asked for: a plugin in a sandbox needs the contracts and no more."""
    module, _, inner = _LATE.get(name, "").partition(":")
    if not module:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"fairlead.{module}"), inner)


_LATE = {"App": "_app:App", "Reply": "_app:Reply", "open": "_open:open_app", "tool": "_function:tool"}
