"""What is installed and what became of it, without importing any plugin."""

from fairlead._discovery import installed, serves
from fairlead._plugins import InstalledPlugin, Manifest, PluginReport

__all__ = ["InstalledPlugin", "Manifest", "PluginReport", "installed", "serves"]
