"""The entry point; thin, since it is imported whenever the app starts."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Policy, Settings
from fairlead.hookspecs import hookimpl
from fairlead_contacts._policy import Contacts

__all__ = ["fairlead_policies"]


@hookimpl
def fairlead_policies(settings: Settings) -> Sequence[Policy]:
    """One policy for each table; all of an app share their contacts."""
    return [Contacts(settings)]
