"""Text that somebody else wrote, made safe to print: nothing in it can move the cursor or hide what it says."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

__all__ = ["escape", "one_line", "show_arguments", "show_cost", "show_evidence", "split_next_step", "with_subject"]

_JOINERS = "\u200c\u200d"
"""Persian and Indic words and joined emoji need them; between other characters they only hide things."""
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
"""Letters and marks that show nothing though their category is a visible one."""
_HIDING = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode's categories of control, format (bidi, zero width, tags), surrogate, private use and line separators."""
_SUSPECT = re.compile(r"[^\n\t -~]")


def escape(text: str, before: str = "") -> str:
    r"""The text with everything that a terminal would obey or hide spelled out: ESC becomes ``\x1b``.

    Newlines and tabs stay, carriage returns are left out. *before* is the character that was printed last, so that
    a text may be escaped piece by piece.
    """
    if _SUSPECT.search(text) is None:
        return text
    return _SUSPECT.sub(lambda found: _spell(found.group(), found.string[: found.start()][-1:] or before), text)


def _spell(char: str, previous: str) -> str:
    if char == "\r":
        return ""
    if char in _JOINERS and _joins(previous):
        return char
    hides = unicodedata.category(char) in _HIDING or char in _BLANK or "\U000e0100" <= char <= "\U000e01ef"
    return _code(ord(char)) if hides else char


def _code(point: int) -> str:
    r"""As Python spells it: ``\x1b``, ``\u202e``, ``\U000e0041``."""
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"  # noqa: PLR2004  # where the spellings change


def _joins(char: str) -> bool:
    """Whether a joiner after this character has something to join."""
    return char > "\x7f" and unicodedata.category(char)[0] in "LMS"


def one_line(text: str, width: int = 100) -> str:
    """The text on one line of at most *width* characters, escaped, with ``…`` where something was left out."""
    flat = " ".join(escape(text[: 20 * width]).split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def with_subject(subject: str, detail: str) -> str:
    """``subject: detail``, and the detail alone where it names the subject first. Not escaped."""
    return detail if detail.startswith(subject) else f"{subject}: {detail}"


def show_arguments(arguments: Any, width: int = 80) -> str:
    """A call's arguments as a programmer would write them: ``expression="17 * 23"``."""
    if not isinstance(arguments, dict):
        return one_line(str(arguments), width)
    shown = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
    return one_line(shown, width)


def show_evidence(evidence: Mapping[str, Any]) -> str:
    """Where a call really ran: ``in a container: container 3f2a9c81d0b4, image 5e8f03b1c2d4, network none``.

    Empty without evidence: then nothing may be said of it. Ids are shortened as Docker shortens them.
    """
    level = str(evidence.get("level", ""))
    if level not in _PLACES:
        return ""
    facts = [f"{name} {_short(evidence[name])}" for name in _FACTS if evidence.get(name) not in (None, "", [], {})]
    if level == "process":
        layers = [name for name in _LAYERS if evidence.get(name) not in (None, False, 0, "", "none")]
        facts.append(f"behind {' + '.join(layers)}" if layers else "behind nothing but its limits")
    return one_line(": ".join(filter(None, (_PLACES[level], ", ".join(facts)))), 300)


def split_next_step(text: str) -> tuple[str, str]:
    """What went wrong, and the command that helps, where the text ends with one: ``... Next: fairlead doctor``."""
    found = _NEXT.search(text)
    return (text[: found.start()].rstrip(), found[1].strip()) if found else (text, "")


_PLACES = {"process": "in a process", "container": "in a container", "kernel": "under a kernel of its own"}
_FACTS = ("container", "pid", "image", "runtime", "network", "user")
_LAYERS = ("bubblewrap", "seccomp", "landlock", "cgroup")
_NEXT = re.compile(r"\s[Nn]ext: (\S[^\n]*)\Z")
_ID = re.compile(r"(sha256:)?([0-9a-f]{12})[0-9a-f]{4,}")


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " + ".join(map(str, value))
    found = _ID.fullmatch(str(value))
    return found[2] if found else str(value)


def show_cost(dollars: float | None) -> str:
    """Money for people: ``$0.0031``; empty where no price is known."""
    if dollars is None:
        return ""
    return f"${dollars:.2f}" if dollars >= 1 else f"${dollars:.4f}"
