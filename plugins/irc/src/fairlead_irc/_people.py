"""Who speaks, and where a conversation is held."""

from __future__ import annotations

import re

from attrs import frozen

from fairlead import Principal

__all__ = ["Speaker", "nick_in"]


@frozen
class Speaker:
    """Somebody at the other end, as the server names him."""

    nick: str
    mask: str
    """``user@host``; the host is the server's word, the user often his own."""
    account: str = ""
    """The account that the server has authenticated; empty where there is none."""

    def principal(self, network: str) -> Principal:
        """By the account where there is one. A nick alone is nobody: it can be taken by the next one who comes."""
        if self.account:
            return Principal(f"irc:{network}:account:{self.account}", self.nick, ("account",))
        return Principal(f"irc:{network}:mask:{self.nick}!{self.mask}", self.nick)

    @property
    def conversation(self) -> str:
        """The name of a direct conversation: whoever takes the nick later does not come into it."""
        return f"{self.nick}/{self.account}" if self.account else f"{self.nick}!{self.mask}"

    def is_in(self, conversation: str) -> bool:
        """Whether a direct conversation is held with this person."""
        rest = conversation[len(nick_in(conversation)) :]
        return rest == (f"/{self.account}" if rest.startswith("/") else f"!{self.mask}")


def nick_in(conversation: str) -> str:
    """The nick of a direct conversation; empty where it is none."""
    found = re.match(r"[^\s\x00-\x1f\x7f/!#&+:@,][^\s\x00-\x1f\x7f/!,]*(?=[/!])", conversation)
    return found[0] if found else ""
