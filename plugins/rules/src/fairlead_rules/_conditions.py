"""The questions that a condition can ask. Each is built once into a function of the crossing.

A question that does not fit what it finds (a path that is not absolute, a number compared with a word) is
`Unevaluable`: it has no answer, and the rule decides what follows from that.
"""

from __future__ import annotations

import math
import posixpath
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fairlead_rules._command import command_words, is_command
from fairlead_rules._fields import TOOLS, Unevaluable, compile_field, tool_effect

if TYPE_CHECKING:
    from fairlead import Review

__all__ = ["compile_condition"]

Test = Callable[["Review"], bool]
Question = Callable[[Any], bool]
EFFECTS = ("read", "idempotent", "once")


def compile_condition(raw: Mapping[str, Any], *, allows: bool) -> tuple[frozenset[str], Test]:
    """The boundaries where the condition makes sense, and its function. `ValueError`: what is wrong with it.

    `allows`: it belongs to an allow rule.
    """
    op, value = raw["op"], raw.get("value")
    if op == "effect":
        return TOOLS, _compile_effect(raw, value)
    if "field" not in raw:
        raise ValueError(f"the op {op!r} needs a field")
    try:
        boundaries, read = compile_field(raw["field"])
    except KeyError:
        raise ValueError(f"no field is named {raw['field']!r}") from None
    if op == "exists":
        return boundaries, _compile_exists(read, value)
    if "value" not in raw:
        raise ValueError(f"the op {op!r} needs a value")
    question = _command(value, allows=allows) if op == "command" else QUESTIONS[op](value)
    return boundaries, lambda review: question(read(review))


def _compile_effect(raw: Mapping[str, Any], value: Any) -> Test:
    wanted = frozenset(_words(value, "effect"))
    if "field" in raw:
        raise ValueError("the op 'effect' reads the tool and takes no field")
    if not wanted <= set(EFFECTS):
        raise ValueError(f"an effect is one of {', '.join(EFFECTS)}, found {value!r}")
    return lambda review: tool_effect(review) in wanted


def _compile_exists(read: Callable[[Review], Any], value: Any) -> Test:
    wanted = True if value is None else value
    if not isinstance(wanted, bool):
        raise ValueError(f"exists takes true or false, found {value!r}")  # noqa: TRY004  # a fault of the file, not of a caller

    def test(review: Review) -> bool:
        try:
            read(review)
        except Unevaluable:
            return not wanted
        return wanted

    return test


def _words(value: Any, op: str) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else ()
    if not words or not all(isinstance(word, str) and word for word in words):
        raise ValueError(f"{op} takes a string or a list of strings, none of them empty, found {value!r}")
    return words


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise Unevaluable
    return found


def same(left: Any, right: Any) -> bool:
    """Equality of JSON: true is not 1, and 1 is 1.0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _equals(value: Any) -> Question:
    return lambda found: same(found, value)


def _not_equals(value: Any) -> Question:
    return lambda found: not same(found, value)


def _in(value: Any) -> Question:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"in takes a list, found {value!r}")
    return lambda found: any(same(found, one) for one in value)


def _starts_with(value: Any) -> Question:
    words = _words(value, "starts_with")
    return lambda found: _text(found).startswith(words)


def _contains(value: Any) -> Question:
    def question(found: Any) -> bool:
        if isinstance(found, str) and isinstance(value, str):
            return value in found
        if isinstance(found, list | tuple):
            return any(same(one, value) for one in found)
        raise Unevaluable

    return question


def _number(found: Any) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or math.isnan(found):
        raise Unevaluable
    return found


def _limit(value: Any, op: str) -> float:
    try:
        return _number(value)
    except Unevaluable:
        raise ValueError(f"{op} takes a number, found {value!r}") from None


def _less(value: Any) -> Question:
    limit = _limit(value, "less")
    return lambda found: _number(found) < limit


def _greater(value: Any) -> Question:
    limit = _limit(value, "greater")
    return lambda found: _number(found) > limit


def _under(value: Any) -> Question:
    """By the text of the path: ``..`` is resolved, symbolic links are not followed."""
    roots = [_absolute(root) for root in _words(value, "under") if root.startswith("/") and "\0" not in root]
    if len(roots) != len(_words(value, "under")):
        raise ValueError(f"under takes absolute directories, found {value!r}")
    prefixes = tuple(root if root.endswith("/") else f"{root}/" for root in roots)

    def question(found: Any) -> bool:
        path = _text(found)
        if not path.startswith("/") or "\0" in path:
            raise Unevaluable
        return f"{_absolute(path)}/".startswith(prefixes)

    return question


def _absolute(path: str) -> str:
    # POSIX lets `//host` mean something else, and normpath keeps it; no tool here means that.
    return "/" + posixpath.normpath(path).lstrip("/")


def _command(value: Any, *, allows: bool) -> Question:
    """A string is one command; of several in a list one is enough."""
    wanted = [shlex.split(command) for command in _words(value, "command")]
    for words in wanted:
        try:
            command_words(words)
        except Unevaluable:
            raise ValueError(f"command takes plain words without operators of the shell, found {value!r}") from None

    def question(found: Any) -> bool:
        words = command_words(found)
        return any(is_command(words, one, by_name=not allows) for one in wanted)

    return question


QUESTIONS: dict[str, Callable[[Any], Question]] = {
    "contains": _contains,
    "equals": _equals,
    "greater": _greater,
    "in": _in,
    "less": _less,
    "not_equals": _not_equals,
    "starts_with": _starts_with,
    "under": _under,
}
