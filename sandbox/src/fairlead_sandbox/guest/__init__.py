"""What runs in a plugin's own process: the plugin, its event loop, and nothing of the host.

The host starts `guest_command` and speaks with it over the boundary. The plugin is written against the same contracts
as everywhere; it runs on trio or, where its manifest says so, on asyncio.
"""

from fairlead_sandbox.guest._command import guest_command

__all__ = ["guest_command"]
