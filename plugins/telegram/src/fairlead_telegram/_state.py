"""The few facts that must survive a restart: one small JSON file, replaced as a whole.

The position in Telegram's stream of updates is not among them: Telegram keeps it, and moves it when it is told to,
which happens after the journal has the messages.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

__all__ = ["State"]

log = logging.getLogger(__name__)

MOST = 500
"""Entries of one kind; the oldest go first."""


@define(eq=False)
class State:
    """Tables of plain values. Change them by `put` and `drop` only."""

    path: Path
    tables: dict[str, dict[str, Any]] = field(factory=dict)
    """``drafts``: id of an answer to chat and message where it grows. ``keyboards``: key to who may press it, and the
    values. ``moved``: number of a group to the supergroup that it became. ``webhook``: the address that we have set."""
    _lock: trio.Lock = field(factory=trio.Lock)

    def load(self) -> None:
        """Read the file. One that is missing or cannot be read is empty: what it holds is of comfort only."""
        try:
            found = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            found = None
        found = found if isinstance(found, dict) else {}
        self.tables = {name: table for name, table in found.items() if isinstance(table, dict)}

    def get(self, table: str, key: str) -> Any:
        return self.tables.get(table, {}).get(key)

    async def put(self, table: str, key: str, value: Any) -> None:
        """Keep a value; it is on the disk when this returns."""
        entries = self.tables.setdefault(table, {})
        entries.pop(key, None)
        entries[key] = value
        for oldest in list(entries)[:-MOST]:
            del entries[oldest]
        await self._save()

    async def drop(self, table: str, key: str) -> None:
        """Forget a value. Harmless where there is none."""
        if self.tables.get(table, {}).pop(key, None) is not None:
            await self._save()

    async def _save(self) -> None:
        async with self._lock:
            raw = json.dumps(self.tables).encode("ascii")
            try:
                await trio.to_thread.run_sync(_replace, self.path, raw)
            except OSError as error:  # it holds until the next start; what is being sent or taken is worth more
                log.warning("%s cannot be written: %s", self.path, error)


def _replace(path: Path, raw: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
