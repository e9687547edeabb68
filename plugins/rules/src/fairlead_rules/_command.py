"""Shell commands, read only as far as they are plain words."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Sequence
from typing import Any

from fairlead_rules._fields import Unevaluable

__all__ = ["command_words", "is_command"]

PLAIN = re.compile(r"""[\w \-./=:,@+%'"]+""")
"""Letters, digits and what else a shell takes literally, and quotes. Everything else (; & | < > $ ` newline # ( ) { } *
? [ ] ~ ! ^ backslash, control characters) may start, end, join or rewrite a command, also inside double quotes."""


def command_words(found: Any) -> list[str]:
    """The words of a command line or of a list of words. `Unevaluable`: it is more than one plain command, or none."""
    if isinstance(found, str):
        return _split(found)
    if isinstance(found, Sequence) and all(isinstance(word, str) and PLAIN.fullmatch(word) for word in found) and found:
        return list(found)
    raise Unevaluable


def _split(line: str) -> list[str]:
    if PLAIN.fullmatch(line) is None:
        raise Unevaluable
    try:
        # Without quotes only spaces part words, and the quick way (0.2 us instead of 8) gives the same.
        words = shlex.split(line) if '"' in line or "'" in line else line.split()
    except ValueError:  # an open quote
        raise Unevaluable from None
    if not words or "=" in words[0]:  # NAME=value before a command changes what it does
        raise Unevaluable
    return words


def is_command(words: Sequence[str], wanted: Sequence[str], *, by_name: bool) -> bool:
    """Whether the command is `wanted` or begins with these words.

    `by_name`: ``/bin/rm`` is ``rm`` as well, which is right for what forbids and wrong for what allows.
    """
    if list(words[: len(wanted)]) == list(wanted):
        return True
    named = [posixpath.basename(words[0]), *words[1:]]
    return by_name and named[: len(wanted)] == list(wanted)
