"""Where the code of plugins lies, so that none of them needs the host's own environment.

Two ways: `bundle` copies a plugin that is installed in the host's environment; `PluginStore` installs one into an
environment of its own. No module here imports a plugin. Layers, each on those below:

    _store
    _preparing
    _asks : _bundle : _installers : _stored : _wheel
    _closure : _programs : _repack
    _environment : _files : _tree
"""

from fairlead_sandbox.environments._asks import Asks, PluginAsks, asks_in
from fairlead_sandbox.environments._bundle import bundle, collect_garbage, guest_runtime
from fairlead_sandbox.environments._environment import Environment
from fairlead_sandbox.environments._installers import Sources
from fairlead_sandbox.environments._repack import repack
from fairlead_sandbox.environments._store import PluginStore, Upgrade, hold
from fairlead_sandbox.environments._stored import Source, StoredPlugin

__all__ = [
    "Asks",
    "Environment",
    "PluginAsks",
    "PluginStore",
    "Source",
    "Sources",
    "StoredPlugin",
    "Upgrade",
    "asks_in",
    "bundle",
    "collect_garbage",
    "guest_runtime",
    "hold",
    "repack",
]
