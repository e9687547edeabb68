"""Which agent gets which conversation: the most specific binding wins; two that tie are refused when they are read."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING
from urllib.parse import quote

from fairlead.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead._config import Binding
    from fairlead._message import Address, Principal

__all__ = ["Router"]

_WEIGHTS = {"peer": 16, "conversation": 8, "account": 4, "role": 2, "channel": 1}
"""A binding's specificity is the sum: a person beats a conversation, which beats an account, a role, a channel."""


class Router:
    """Bindings, most specific first."""

    def __init__(self, bindings: Sequence[Binding], default_agent: str, *, file: str = "") -> None:
        """`ConfigError`: two bindings of one weight can match the same message and name different agents."""
        self._default = default_agent
        self.bindings = sorted(bindings, key=_weight, reverse=True)
        for first, second in combinations(bindings, 2):
            if _where_to(first) != _where_to(second) and _weight(first) == _weight(second) and _overlap(first, second):
                raise ConfigError(
                    f"two bindings tie: {_shown(first)} goes to {_where_to(first)} and {_shown(second)} to"
                    f" {_where_to(second)}, and one message can match both",
                    file=file,
                    path="bindings",
                    next_step="add a key to one of them (conversation or peer), or remove one",
                )

    def agent_for(self, address: Address, author: Principal) -> str:
        """The agent that answers here."""
        binding = self.binding_for(address, author)
        return self._default if binding is None else binding.agent

    def binding_for(self, address: Address, author: Principal) -> Binding | None:
        """The one that decides here; None where none matches."""
        for binding in self.bindings:
            if _matches(binding, address, author):
                return binding
        return None

    @staticmethod
    def session_for(agent: str, address: Address) -> str:
        """The session's name: the same conversation with the same agent is the same session."""
        parts = [agent, address.channel, address.account, address.conversation]
        if address.thread:
            parts.append(address.thread)
        return "/".join(quote(part, safe="@:+=,") for part in parts)


def _weight(binding: Binding) -> int:
    return sum(weight for key, weight in _WEIGHTS.items() if getattr(binding, key))


def _matches(binding: Binding, address: Address, author: Principal) -> bool:
    return (
        binding.channel in ("", address.channel)
        and binding.account in ("", address.account)
        and binding.conversation in ("", address.conversation)
        and binding.peer in ("", author.id)
        and (not binding.role or binding.role in author.roles)
    )


def _overlap(first: Binding, second: Binding) -> bool:
    """Whether one message can match both. Roles never exclude each other: a person may have two."""
    return all(
        not getattr(first, key) or not getattr(second, key) or getattr(first, key) == getattr(second, key)
        for key in ("channel", "account", "conversation", "peer")
    )


def _where_to(binding: Binding) -> str:
    return f"agent {binding.agent!r}" + (f" in mode {binding.mode!r}" if binding.mode is not None else "")


def _shown(binding: Binding) -> str:
    keys = ", ".join(f"{key}={getattr(binding, key)!r}" for key in _WEIGHTS if getattr(binding, key))
    return f"[{keys or 'any message'}]"
