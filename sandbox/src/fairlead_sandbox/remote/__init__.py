"""Plugins that run elsewhere, as the host sees them: ordinary workers of the five kinds, and observers.

Each passes everything over the boundary to the plugin's own process or container. Whatever comes back is checked
against `schemas/` before it becomes data, and labelled by the core as every worker's is.
"""

from fairlead_sandbox.remote._data import parsed, parsed_list
from fairlead_sandbox.remote._memory import RemoteJournal, RemoteRecall
from fairlead_sandbox.remote._plugin import RemotePlugin, options_for_guest
from fairlead_sandbox.remote._workers import (
    RemoteChannel,
    RemoteMemory,
    RemoteObserver,
    RemotePolicy,
    RemoteProvider,
    RemoteTool,
)

__all__ = [
    "RemoteChannel",
    "RemoteJournal",
    "RemoteMemory",
    "RemoteObserver",
    "RemotePlugin",
    "RemotePolicy",
    "RemoteProvider",
    "RemoteRecall",
    "RemoteTool",
    "options_for_guest",
    "parsed",
    "parsed_list",
]
