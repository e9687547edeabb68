"""The entry point `rehearsal`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlead.hookspecs import hookimpl
from fairlead_rehearsal._provider import Rehearsal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead import Provider, Settings

__all__ = ["fairlead_providers"]


@hookimpl
def fairlead_providers(settings: Settings) -> Sequence[Provider]:  # noqa: ARG001  # the hook's arguments are fixed; no options
    """The rehearsal."""
    return [Rehearsal()]
