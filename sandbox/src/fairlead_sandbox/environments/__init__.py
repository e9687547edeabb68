"""Where the code of plugins lies, so that none of them needs the host's own environment.

Layers: `_environment`, `_files`, `_tree` know nothing of each other; `_closure` and `_repack` use them; `_bundle` is
made of all five. No module here imports a plugin.
"""

from fairlead_sandbox.environments._bundle import bundle, collect_garbage, guest_runtime
from fairlead_sandbox.environments._environment import Environment
from fairlead_sandbox.environments._repack import repack

__all__ = ["Environment", "bundle", "collect_garbage", "guest_runtime", "repack"]
