"""What a plugin gets instead of its secrets: handles, for which the proxy puts the values on the way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

    def tell(self, subject: str, notice: Callable[..., None]) -> None:
        """Warn where a secret can never be used: handles count on the way to granted hosts, and there are none."""
        if self.grants and not self.hosts:
            table = subject.replace("/", ".")
            text = (
                "it runs isolated, so it has a handle for its secret, which counts on the way to granted hosts only; "
            )
            notice(subject, f"{text}none is granted (next: write hosts = [...] into [{table}])")

    def _handle(self, secret: Secret) -> str:
        handle = new_handle()
        self.grants[handle] = SecretGrant(secret.reveal(), tuple(self.hosts))
        return handle
