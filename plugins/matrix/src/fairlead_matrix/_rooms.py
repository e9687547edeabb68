"""What is known of rooms: who is in them, whether they are encrypted; and invitations."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field, frozen

from fairlead_matrix._account import Account
from fairlead_matrix._api import Refused, TooLarge, path_of
from fairlead_matrix._json import mapped, texted

__all__ = ["Room", "Rooms"]

NOT_FOUND = 404
PAIR = 2
KEPT = 1000
"""Rooms that are remembered; the others are asked for again."""

log = logging.getLogger(__name__)


@frozen
class Room:
    """One room, as it is now."""

    id: str
    names: Mapping[str, str]
    """Of its members, by their user ids; empty where they are too many to be told."""
    encrypted: bool

    @property
    def direct(self) -> bool:
        """Whether nobody but one person and this channel is there."""
        return 0 < len(self.names) <= PAIR


@define(eq=False)
class Rooms:
    """Asks once, and follows what happens."""

    account: Account
    encrypted: set[str] = field(factory=set)
    """Rooms that were found to be encrypted: which never ends."""
    _known: dict[str, Room] = field(factory=dict)
    _changes: int = 0
    """Counts what happened, so that an answer of before it is not kept."""

    async def get(self, room_id: str) -> Room:
        """`Refused`: we are not in it. Else the errors of `Account.call`."""
        known = self._known.get(room_id)
        if known is not None:
            return known
        changes = self._changes
        try:
            found = await self.account.call("GET", path_of("rooms", room_id, "joined_members"))
            members = mapped(found, "joined")
        except TooLarge:
            members = {}
        encrypted = await self._is_encrypted(room_id)
        names = {user: texted(value, "display_name") for user, value in members.items() if isinstance(value, dict)}
        room = Room(room_id, names, encrypted)
        if changes == self._changes:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[room_id] = room
        return room

    async def _is_encrypted(self, room_id: str) -> bool:
        if room_id in self.encrypted:
            return True
        try:
            await self.account.call("GET", path_of("rooms", room_id, "state", "m.room.encryption", ""))
        except Refused as refused:
            if refused.status != NOT_FOUND:
                raise
            return False
        self._lock(room_id)
        return True

    def _lock(self, room_id: str) -> None:
        self.encrypted.add(room_id)
        log.warning(
            "%s: the room %s is encrypted: what is said there is not read, and nothing is sent to it",
            self.account.options.name,
            room_id,
        )

    def note(self, room_id: str, event: Mapping[str, Any]) -> None:
        """Something happened in a room."""
        kind, user, known = event.get("type"), event.get("state_key"), self._known.get(room_id)
        if kind in {"m.room.encryption", "m.room.encrypted"}:
            self._changes += 1
            self._known.pop(room_id, None)
            if room_id not in self.encrypted:
                self._lock(room_id)
        elif kind == "m.room.member" and isinstance(user, str):
            self._changes += 1
            if known is not None and known.names:  # in a large room it happens too often to ask again
                names = {name: value for name, value in known.names.items() if name != user}
                if texted(event, "content", "membership") == "join":
                    names[user] = texted(event, "content", "displayname")
                self._known[room_id] = evolve(known, names=names)

    def forget(self, room_id: str) -> None:
        """We are there no more."""
        self._known.pop(room_id, None)
