"""What is kept: who is known, and which codes are out. Data only; `_book` keeps it in a file."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import asdict, field, frozen

__all__ = ["Contact", "Pending", "State", "normal_code", "parse", "printable", "render"]

VERSION = 1
NAME_CHARS = 100


@frozen
class Contact:
    """Somebody who may talk to the agents through one account of one channel."""

    channel: str
    account: str
    principal: str
    """The id, as the channel has authenticated it: ``telegram:123``."""
    name: str = ""
    """What the person called himself when he asked; it proves nothing. At most 100 printable characters."""
    since: float = 0.0
    """Unix seconds."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What an approval is bound to."""
        return self.channel, self.account, self.principal


@frozen
class Pending:
    """A code that somebody was given."""

    code: str
    channel: str
    account: str
    principal: str
    name: str = ""
    """As in `Contact`."""
    issued: float = 0.0
    """Unix seconds."""
    expires: float = 0.0
    """Unix seconds."""
    status: Literal["open", "approved", "declined"] = "open"
    """One that is not open any more is remembered until it expires: its person gets no other one before."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Whose it is."""
        return self.channel, self.account, self.principal


@frozen
class State:
    """The whole file."""

    contacts: tuple[Contact, ...] = ()
    codes: tuple[Pending, ...] = ()
    guesses: tuple[float, ...] = ()
    """When somebody typed a code that is none: Unix seconds, oldest first."""
    known: frozenset[tuple[str, str, str]] = field(init=False, eq=False, repr=False)
    asked: Mapping[tuple[str, str, str], Pending] = field(init=False, eq=False, repr=False)
    """The code of each person who has one."""

    @known.default
    def _known(self) -> frozenset[tuple[str, str, str]]:
        return frozenset(contact.key for contact in self.contacts)

    @asked.default
    def _asked(self) -> Mapping[tuple[str, str, str], Pending]:
        return {code.key: code for code in self.codes}

    def open_codes(self, channel: str, now: float) -> int:
        """How many codes of a channel somebody could still approve."""
        return sum(code.channel == channel and code.status == "open" and code.expires > now for code in self.codes)


def render(state: State) -> str:
    """The state as the text of its file; ASCII, so that no name can break it."""
    value = {
        "version": VERSION,
        "contacts": [asdict(contact) for contact in state.contacts],
        "codes": [asdict(code) for code in state.codes],
        "guesses": list(state.guesses),
    }
    return json.dumps(value, indent=1) + "\n"


def parse(text: str) -> State:
    """The state of a file's text. `ValueError`: what is wrong with it."""
    value = json.loads(text)
    if not isinstance(value, dict) or value.get("version") != VERSION:
        raise ValueError(f"expected an object of version {VERSION}")
    try:
        contacts = tuple(Contact(**_fields(entry)) for entry in value["contacts"])
        codes = tuple(Pending(**_fields(entry)) for entry in value["codes"])
        guesses = tuple(float(guess) for guess in value["guesses"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected contacts, codes and guesses: {error}") from None
    return State(contacts, codes, guesses)


def _fields(entry: Any) -> Mapping[str, Any]:
    """The fields of one entry, with the types that they must have."""
    if not isinstance(entry, dict):
        raise TypeError("an entry is no object")
    for name, value in entry.items():
        if not isinstance(value, int | float if name in _NUMBERS else str) or isinstance(value, bool):
            raise TypeError(f"{name} has another type")
    return entry


_NUMBERS = {"since", "issued", "expires"}


def normal_code(text: str) -> str:
    """A code as somebody typed it, as it was given: capitals, without spaces and dashes."""
    return "".join(char for char in text.upper() if char not in " -\t\r\n")


def printable(name: str) -> str:
    """A name that is safe to show at a terminal: no control characters, no reordering, at most 100 characters."""
    kept: Sequence[str] = [char for char in name[: 4 * NAME_CHARS] if unicodedata.category(char)[0] != "C"]
    return "".join(kept).strip()[:NAME_CHARS]
