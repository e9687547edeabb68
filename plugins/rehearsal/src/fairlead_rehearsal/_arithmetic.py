"""Arithmetic in the words of people. The tool computes it; here it is only recognised."""

from __future__ import annotations

from fairlead_rehearsal._wish import Wish, is_iso_date, word_set

__all__ = ["read_arithmetic"]

LEADING = word_set(
    "what what's whats is are calculate compute evaluate solve how much does the result of value please tell"
    " me and then also so = equals"
)
TRAILING = ("equal to", "equals", "equal", "is", "make", "=", "?", ".", ":")
SPOKEN = (
    (" to the power of ", " ^ "),
    (" multiplied by ", " * "),
    (" divided by ", " / "),
    (" times ", " * "),
    (" plus ", " + "),
    (" minus ", " - "),
    (" over ", " / "),
    (" modulo ", " mod "),
    (" percent ", "% "),
    (" squared ", "^2 "),
    (" cubed ", "^3 "),
    (" x ", " * "),
)
FUNCTIONS = word_set("sqrt abs min max round floor ceil log ln log2 log10 exp sin cos tan factorial")
NAMES = FUNCTIONS | {"pi", "e", "of", "mod"}
OPERATORS = frozenset("+-*/%^!×·÷−")
OTHERS = frozenset("0123456789.,_() –π")
MAX_CHARS = 1_000


def read_arithmetic(text: str) -> Wish | None:
    """An expression with what people say around it, or None."""
    if len(text) > MAX_CHARS:
        return None
    expression = _expression(text)
    if expression and _is_arithmetic(expression):
        return Wish("calculate", expression, {"expression": expression})
    return None


def _expression(text: str) -> str:
    words = text.split()
    while words and words[0].lower().rstrip(":,") in LEADING:
        words.pop(0)
    kept = " ".join(words)
    while (shorter := _without_ending(kept)) != kept:
        kept = shorter
    padded = f" {kept} "
    for spoken, written in SPOKEN:
        at = padded.lower().find(spoken)
        while at >= 0:
            padded = padded[:at] + written + padded[at + len(spoken) :]
            at = padded.lower().find(spoken)
    return " ".join(padded.split())


def _without_ending(text: str) -> str:
    for ending in TRAILING:
        if text.lower().endswith(ending):
            shorter = text[: -len(ending)].rstrip()
            # "sin" ends with no word of these, but "this" ends with "is".
            if not ending[0].isalpha() or not shorter or not text[len(text) - len(ending) - 1].isalpha():
                return shorter
    return text


def _is_arithmetic(text: str) -> bool:
    """Digits, operators and known names only; at least one value, and something to do with it."""
    names, others = _names(text)
    if not names <= NAMES or not others <= OPERATORS | OTHERS:
        return False
    if any(map(is_iso_date, text.split())):
        return False
    value = any(char.isdigit() for char in others) or bool(names & {"pi", "e"}) or "π" in others
    return value and bool(names & (FUNCTIONS | {"of", "mod"}) or _has_operator(text))


def _names(text: str) -> tuple[set[str], set[str]]:
    """The names, and the characters that are in none. The digits of ``1e5`` and ``log2`` belong to the names."""
    names, others, at = set(), set(), 0
    while at < len(text):
        end = at
        if text[at].isascii() and text[at].isalpha():
            while end < len(text) and text[end].isascii() and text[end].isalnum():
                end += 1
            name = text[at:end].lower()
            exponent = name[0] == "e" and name[1:].isdigit() and at > 0 and text[at - 1].isdigit()
            names.add("e" if exponent else name)
            if exponent:
                others.add("0")
        else:
            others.add(text[at])
            end = at + 1
        at = end
    return names, others


def _has_operator(text: str) -> bool:
    """Beyond the sign of a single number."""
    return any(char in OPERATORS for char in text.lstrip("+-− "))
