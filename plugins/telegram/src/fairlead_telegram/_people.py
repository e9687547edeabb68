"""Chats and people as the core knows them, and as Telegram numbers them now."""

from __future__ import annotations

from attrs import define, evolve, field, frozen

from fairlead import Address, Principal
from fairlead_telegram._state import State
from fairlead_telegram._updates import Bot, Said

__all__ = ["People", "Place"]

MOST = 2000
"""Messages whose writers are remembered, for buttons below their answers."""


@frozen
class Place:
    """Where a call to Telegram goes."""

    chat: int
    thread: int | None = None

    @property
    def private(self) -> bool:
        """Groups and channels have negative numbers."""
        return self.chat > 0


@define(eq=False)
class People:
    """A group that became a supergroup has another number from then on, and stays the same conversation."""

    channel: str
    _state: State
    _writers: dict[str, int] = field(factory=dict)
    """The id of a message to the number of who wrote it."""

    def address(self, said: Said, bot: Bot) -> Address:
        conversation = said.chat
        for old, new in self._state.tables.get("moved", {}).items():
            if new == said.chat:
                conversation = int(old)
        return said.address(self.channel, bot, str(conversation))

    def place(self, address: Address) -> Place | None:
        """None: it is no address of this channel's."""
        try:
            chat, thread = int(address.conversation), int(address.thread or 0)
        except ValueError:
            return None
        return self.current(Place(chat, thread or None))

    def current(self, place: Place) -> Place:
        """Where a chat is now; a group may move between two messages of one answer."""
        moved = self._state.get("moved", str(place.chat))
        return evolve(place, chat=moved) if isinstance(moved, int) else place

    async def moved(self, old: int, new: int) -> None:
        """Telegram says so to the old group, and again to who writes there. A second move keeps the first number."""
        first = next((int(each) for each, at in self._state.tables.get("moved", {}).items() if at == old), old)
        if self._state.get("moved", str(first)) != new:
            await self._state.put("moved", str(first), new)

    def wrote(self, external_id: str, author: Principal) -> None:
        self._writers.pop(external_id, None)
        self._writers[external_id] = int(author.id.rpartition(":")[2])
        if len(self._writers) > MOST:
            del self._writers[next(iter(self._writers))]

    def writer(self, place: Place, external_id: str) -> int | None:
        """Who wrote a message; None where nobody remembers. In a private chat there is only one."""
        found = place.chat if place.private else self._writers.get(external_id, 0)
        return found if found > 0 else None  # whoever writes in the name of a chat presses in his own
