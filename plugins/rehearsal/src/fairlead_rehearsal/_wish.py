"""One thing that a person asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

__all__ = ["Kind", "Wish", "is_iso_date", "word_set", "words_of"]

Kind = Literal[
    "calculate",
    "weekday",
    "now",
    "date_difference",
    "add_days",
    "remember",
    "recall",
    "forget",
    "python",
    "shell",
    "list_files",
    "read_file",
    "write_file",
    "search_files",
    "fetch",
    "use",
    "say",
    "unknown",
]


@frozen
class Wish:
    """What is asked for, as far as it was understood."""

    kind: Kind
    text: str
    """The words that it was read from; for ``say`` the words to say."""
    arguments: Mapping[str, Any] = field(factory=dict)
    """For the tool, by the names that Fairlead's own tools give them."""
    tool: str = ""
    """For ``use``: the tool's name."""
    problem: str = ""
    """For ``use``: what is wrong with its arguments."""
    literal: bool = False
    """The code or the command is the person's own, word for word."""


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for looking up."""
    return frozenset(text.split())


def is_iso_date(word: str) -> bool:
    """``2027-03-01``, also where its month does not exist: the tool says so."""
    parts = word.split("-")
    return [len(part) for part in parts] == [4, 2, 2] and all(part.isascii() and part.isdigit() for part in parts)


def words_of(text: str) -> list[str]:
    """The words without the punctuation around them, as they are written."""
    stripped = (word.strip(",?!:;\"'“”()").removesuffix(".") for word in text.split())
    return [word for word in stripped if word]
