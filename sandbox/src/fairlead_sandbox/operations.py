"""What people can have done here, for programs that do not import this package: functions found by an entry point.

The entry point is ``fairlead.operations``, named ``sandbox``. All are asynchronous, on trio, take the configuration
first and give what JSON has; where something is wrong they raise errors of Fairlead's tree.
"""

from fairlead_sandbox._plugin_operations import (
    add_plugin,
    list_plugins,
    remove_plugin,
    revive_plugin,
    upgrade_plugin,
)
from fairlead_sandbox._upkeep import (
    build_sandbox_image,
    check_sandbox,
    erase_session_files,
    list_sandboxes,
    tidy_sandboxes,
)

__all__ = [
    "add_plugin",
    "build_sandbox_image",
    "check_sandbox",
    "erase_session_files",
    "list_plugins",
    "list_sandboxes",
    "remove_plugin",
    "revive_plugin",
    "tidy_sandboxes",
    "upgrade_plugin",
]
