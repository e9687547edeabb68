"""Buttons below a message: what an answer asks for, who may press them, and what a press says.

Telegram carries 64 bytes with a button, and whoever has an altered client can send others. So a button carries a key
that cannot be guessed and its number; the values, and for whom they are, stay here.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define

from fairlead import Data
from fairlead.types import Part
from fairlead_telegram._state import State

__all__ = ["ANYBODY", "Button", "Keyboards", "approval_of", "buttons_of"]

Button = tuple[str, str]
"""What is shown, and what the person who presses it says."""
ANYBODY = 0
"""Stands for the person where everybody in the chat may press: somebody else decides whether that counts."""
TABLE = "keyboards"
MOST_ROWS, MOST_IN_ROW, MOST_CHARS = 25, 8, 64


def buttons_of(part: Part) -> list[list[Button]]:
    """The rows of a part ``{"buttons": [[{"text": ..., "value": ...}]]}``; empty where it is not of this form."""
    value = part.value if isinstance(part, Data) else None
    if not isinstance(value, Mapping) or set(value) != {"buttons"} or not isinstance(value["buttons"], Sequence):
        return []
    rows = []
    for row in value["buttons"][:MOST_ROWS]:
        if not isinstance(row, Sequence) or not row or not all(_is_button(each) for each in row):
            return []
        rows.append([(each["text"], each.get("value", each["text"])) for each in row[:MOST_IN_ROW]])
    return rows


def approval_of(part: Part) -> list[list[Button]] | None:
    """The two buttons of a question for an approval; none for news about one; None: it is about no approval."""
    value = part.value if isinstance(part, Data) else None
    if not isinstance(value, Mapping) or not isinstance(value.get("approval"), str):
        return None
    name = value["approval"]
    return [[("Approve", f"/approve {name}"), ("Deny", f"/deny {name}")]] if "decisions" in value else []


def _is_button(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("text"), str)
        and bool(value["text"].strip())
        and isinstance(value.get("value", ""), str)
    )


@define(eq=False)
class Keyboards:
    """The keyboards that are shown."""

    _state: State

    async def show(self, rows: Sequence[Sequence[Button]], chat: int, person: int) -> dict[str, Any]:
        """The `reply_markup` of a message that `person` alone, or `ANYBODY`, may answer by a press.

        It survives a restart.
        """
        key = secrets.token_urlsafe(12)
        values = [value for row in rows for _, value in row]
        await self._state.put(TABLE, key, {"chat": chat, "person": person, "values": values})
        numbers = iter(range(len(values)))
        return {
            "inline_keyboard": [
                [{"text": text[:MOST_CHARS], "callback_data": f"{key}:{next(numbers)}"} for text, _ in row]
                for row in rows
            ]
        }

    def pressed(self, data: str, chat: int, person: int) -> tuple[str, str]:
        """The value of a button, or why it has none for this person."""
        key, _, number = data.partition(":")
        found = self._state.get(TABLE, key)
        if not isinstance(found, dict) or found.get("chat") != chat:
            return "", "These buttons are no longer in use."
        if found.get("person") not in (person, ANYBODY):
            return "", "These buttons are for somebody else."
        values = found.get("values", [])
        if not (number.isascii() and number.isdigit() and len(number) < MOST_CHARS and int(number) < len(values)):
            return "", "These buttons are no longer in use."
        return values[int(number)], ""

    def is_shared(self, data: str) -> bool:
        """Everybody in the chat may press."""
        found = self._state.get(TABLE, data.partition(":")[0])
        return isinstance(found, dict) and found.get("person") == ANYBODY

    async def close(self, data: str) -> None:
        """One press is all that a keyboard takes."""
        await self._state.drop(TABLE, data.partition(":")[0])
