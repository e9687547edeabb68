"""What a change of the public API is: an addition, or a break, told from two snapshots."""

from __future__ import annotations

import ast
import itertools
import re
from typing import TYPE_CHECKING

from attrs import frozen

from .api_snapshot import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Change", "changes", "parse_snapshot"]

NAME = re.compile(r"(?:@\w+ |abstract |async |def |class |hook (?:\(first result\) )?)*(\w+)")
VERSIONED = "fairlead.hookspecs.API_VERSION"
"""The one constant that is there to be changed."""


@frozen
class Change:
    """One line that is not what it was."""

    name: str
    """``fairlead.Channel.send``, ``fairlead.errors.ConfigError.line``, ``schema event #text.lang``."""
    breaks: str = ""
    """Why a plugin that worked would no longer; empty for an addition."""


def parse_snapshot(text: str) -> dict[str, str]:
    """Full name to line, in the order of the snapshot."""
    found: dict[str, str] = {}
    above = ["", ""]
    for line in filter(None, text.splitlines()):
        depth, words = (len(line) - len(line.lstrip())) // 4, line.strip()
        if depth == 0:
            above = [words, ""]
        elif above[0].startswith("schema "):
            place = words if " = " in words else words.partition(": ")[0]
            found[f"{above[0]} {place}"] = words
        else:
            name = NAME.match(words)
            assert name, line
            above[1] = name[1] if depth == 1 else above[1]
            found[".".join([above[0], above[1], *([name[1]] if depth > 1 else [])])] = words
    return found


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    """All differences between two snapshots."""
    for name, line in before.items():
        if name not in after:
            whole = above(name)
            if whole in after or whole not in before:  # else that is gone, with all that it had
                yield Change(name, "it is gone")
        elif after[name] != line and name != VERSIONED:
            yield Change(name, why_it_breaks(line, after[name]))
    for name, line in after.items():
        if name not in before:
            yield Change(name, why_new_breaks(line) if above(name) in before else "")
    for name in before.keys() & after.keys():
        old, new = (fields_of(name, side) for side in (before, after))
        if old != new[: len(old)] and set(old) <= set(new):
            yield Change(f"{name}.__init__", f"its fields were {', '.join(old)} in this order; new ones come last")


def above(name: str) -> str:
    """The class of a member, the place around a place in a schema; empty for what is the outermost."""
    if name.startswith("schema "):
        kept, _, place = name.rpartition(" = ")
        if kept and place:
            return kept
        word, title, place = name.split(" ", 2)
        outer = re.sub(r"(\.[^.(\[#]*|\[\]|\([^()]*\)|#[^.(\[#]*)$", "", place)
        return f"{word} {title} {outer or '.'}" if place not in {outer, "."} else ""
    module_and_class, _, member = name.rpartition(".")
    return module_and_class if member and module_and_class.rpartition(".")[2][:1].isupper() else ""


def fields_of(name: str, side: Mapping[str, str]) -> list[str]:
    """The fields of a class that may be given without their names, in their order."""
    if not side[name].startswith("class "):
        return []
    inner = [(key, line) for key, line in side.items() if key.startswith(f"{name}.")]
    if any(line.startswith(("async def ", "abstract ")) for _, line in inner):
        return []  # a worker is made without its fields
    return [
        key.rpartition(".")[2]
        for key, line in inner
        if re.match(r"\w+: ", line) and not line.endswith(("(property)", "(keyword)"))
    ]


def why_new_breaks(line: str) -> str:
    """Why an addition to something that was there already is none; empty where it is."""
    if line.startswith("abstract "):
        return "a new abstract method: those who have it not cannot be made any more"
    if re.match(r"\w+: [^=]*$", line) and not line.endswith("(property)"):
        return "a new field without a default"
    if line.startswith((".", "#")) and f": {REQUIRED}" in line:
        return "a new key that must be there"
    return ""


def why_it_breaks(old: str, new: str) -> str:
    """Why a changed line breaks; empty where only parameters with defaults were added at the end."""
    if NAME.match(old) and NAME.match(new) and "(" in old and "(" in new:
        try:
            before, after = (ast.parse(f"def {line[NAME.match(line).start(1) :]}: ...").body[0] for line in (old, new))  # type: ignore[union-attr]  # each line has a name
        except SyntaxError:
            return f"it was {old!r}"
        assert isinstance(before, ast.FunctionDef)
        assert isinstance(after, ast.FunctionDef)
        if old[: old.index("(")] == new[: new.index("(")] and only_grew(before, after):
            return ""
    return f"it was {old!r}"


def only_grew(before: ast.FunctionDef, after: ast.FunctionDef) -> bool:
    """Whether every call of the one is a call of the other."""
    (old, old_names), (new, new_names) = parameters(before), parameters(after)
    fresh = [*new[len(old) :], *(words for name, words in new_names.items() if name not in old_names)]
    same = new[: len(old)] == old and all(new_names.get(name) == words for name, words in old_names.items())
    return same and all(" = " in words for words in fresh) and dump(before.returns) == dump(after.returns)


def parameters(function: ast.FunctionDef) -> tuple[list[str], dict[str, str]]:
    """Those by position, in order, and those by name alone: ``name: type = default``."""
    given = function.args
    places = [*given.posonlyargs, *given.args]
    none = itertools.repeat(None, len(places) - len(given.defaults))
    listed = [words(one, default) for one, default in zip(places, [*none, *given.defaults], strict=True)]
    stars = [dump(star) for star in (given.vararg, given.kwarg) if star is not None]
    named = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    return listed, {**{one.arg: words(one, default) for one, default in named}, **dict.fromkeys(stars, "")}


def words(one: ast.arg, default: ast.expr | None) -> str:
    return f"{one.arg}: {dump(one.annotation)}{'' if default is None else f' = {dump(default)}'}"


def dump(node: ast.AST | None) -> str:
    return "" if node is None else ast.unparse(node)
