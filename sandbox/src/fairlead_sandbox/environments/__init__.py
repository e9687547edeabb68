"""Where the code of plugins lies, so that none of them needs the host's own environment."""

from fairlead_sandbox.environments._environment import Environment

__all__ = ["Environment"]
