"""The host's side of `fairlead_sandbox.inside`: one sandbox, one call at a time, on plain trio."""

from fairlead_sandbox.runner._data import Identities, Limits, Outcome, Setup, Table, Usage, Work
from fairlead_sandbox.runner._runner import Runner, Watch

__all__ = ["Identities", "Limits", "Outcome", "Runner", "Setup", "Table", "Usage", "Watch", "Work"]
