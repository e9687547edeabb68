"""How fast a chat may be written to: about once a second, and in groups twenty times a minute.

https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this
"""

from __future__ import annotations

import trio
from attrs import define, field

__all__ = ["Pace"]

SECONDS, GROUP_SECONDS = 1.0, 3.0
MOST = 1000


@define(eq=False)
class Pace:
    """Previews wait for it. Answers do not wait, but count: Telegram lets a few of them pass at once."""

    _next: dict[int, float] = field(factory=dict)
    """When a chat may be written to again, by trio's clock."""

    async def wait(self, chat: int) -> None:
        """Until the chat may be written to. Cancelled: nothing has happened."""
        await trio.sleep_until(self._next.get(chat, 0.0))

    def spend(self, chat: int) -> None:
        """It is written to now."""
        self.hold(chat, SECONDS if chat > 0 else GROUP_SECONDS)

    def hold(self, chat: int, seconds: float) -> None:
        """It must not be written to for so long."""
        self._next[chat] = max(self._next.get(chat, 0.0), trio.current_time() + seconds)
        if len(self._next) > MOST:
            now = trio.current_time()
            self._next = {each: at for each, at in self._next.items() if at > now}
