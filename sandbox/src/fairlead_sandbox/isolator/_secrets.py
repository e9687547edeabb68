"""What a plugin gets instead of its secrets: handles, for which the proxy puts the values on the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from fairlead import Secret
from fairlead_sandbox.egress import SecretGrant, new_handle
from fairlead_sandbox.remote import options_for_guest

__all__ = ["Handles"]


@define
class Handles:
    """The secrets of one table, by the handles that stand for them."""

    hosts: Sequence[str]
    """Where the values may go: the hosts that the table grants."""
    grants: dict[str, SecretGrant] = field(factory=dict)

    def options(self, options: Mapping[str, Any]) -> Any:
        """The options as plain JSON, with a handle for each secret."""
        return options_for_guest(options, self._handle)

    def _handle(self, secret: Secret) -> str:
        handle = new_handle()
        self.grants[handle] = SecretGrant(secret.reveal(), tuple(self.hosts))
        return handle
