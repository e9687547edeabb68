"""The configuration: frozen data, and the file it is read from."""

from fairlead._config import (
    Agent,
    Binding,
    Compaction,
    Config,
    LaneLimits,
    Limits,
    ModelRef,
    PluginConfig,
    SessionLimits,
)
from fairlead._config_file import find, load
from fairlead._defaults import default

__all__ = [
    "Agent",
    "Binding",
    "Compaction",
    "Config",
    "LaneLimits",
    "Limits",
    "ModelRef",
    "PluginConfig",
    "SessionLimits",
    "default",
    "find",
    "load",
]
