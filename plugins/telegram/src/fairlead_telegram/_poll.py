"""Long polling: Telegram is asked for news, and told that they are kept only after the journal has them."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

import trio
from attrs import define

from fairlead.errors import FairleadError, JournalError
from fairlead_telegram._api import Api, ApiError, Refused
from fairlead_telegram._intake import Intake
from fairlead_telegram._updates import Update, read_update

__all__ = ["Backoff", "Poller", "albums", "denied"]

FIRST_SECONDS, LONGEST_SECONDS = 1.0, 60.0
ALBUM_SECONDS = 1.0
"""The messages of an album come one after the other; the last of them at most this much later."""
CONFLICTS = 3
"""In a row. One is usual: the question of a program that was killed is still open at Telegram."""

log = logging.getLogger(__name__)


@define(eq=False)
class Backoff:
    """Pauses that grow, less up to half by chance."""

    chance: Callable[[], float] = random.random
    _tries: int = 0

    async def pause(self, least: float = 0.0) -> None:
        seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(self._tries, 10)) * (1 - self.chance() / 2)
        self._tries += 1
        await trio.sleep(max(least, seconds))

    def reset(self) -> None:
        self._tries = 0


def denied(channel: str, error: Refused) -> FairleadError | None:
    """What the operator has to mend, where that is so."""
    if error.code not in (401, 404):
        return None
    return FairleadError(
        f"Telegram does not know the token of channels.{channel} ({error})",
        next_step="send /token to @BotFather in Telegram, and put the token where the configuration reads it",
    )


def albums(updates: Sequence[Update]) -> list[list[Update]]:
    """The updates in order, those of one album together at the place of its first one."""
    found: dict[str, list[Update]] = {}
    for update in updates:
        found.setdefault(update.group or f"#{update.id}", []).append(update)
    return list(found.values())


@define(eq=False)
class Poller:
    """Asks until it is cancelled."""

    api: Api
    intake: Intake
    backoff: Backoff
    release: Callable[[], Any]
    """Awaited where a webhook is set: takes away one of ours, raises for one of somebody else's."""
    kinds: Sequence[str]
    offset: int | None = None
    """The first update that is not yet kept."""
    trouble: str = ""
    """Why nothing comes just now."""
    _conflicts: int = 0

    async def run(self) -> None:
        """`FairleadError`: the operator has to mend something."""
        while True:
            try:
                updates = await self._ask(self.intake.options.poll_seconds)
                if any(update.group for update in updates):
                    await trio.sleep(ALBUM_SECONDS)
                    updates = await self._ask(0)
            except Refused as error:
                await self._refused(error)
            except ApiError as error:
                self._note(str(error))
                await self.backoff.pause()
            else:
                self._note("")
                self._conflicts = 0
                await self._take(updates)

    def _note(self, trouble: str) -> None:
        if trouble and not self.trouble:
            log.warning("no news from Telegram: %s", trouble)
        elif self.trouble and not trouble:
            log.info("Telegram is back")
        self.trouble = trouble

    async def _ask(self, seconds: int) -> list[Update]:
        params = {"offset": self.offset, "timeout": seconds, "allowed_updates": list(self.kinds)}
        found = await self.api.call("getUpdates", params, seconds=seconds)
        updates = [update for each in found if (update := read_update(each)) is not None] if _is_list(found) else []
        if _is_list(found) and found and not updates:
            # Nothing with a number, so nothing that could be confirmed: asking again at once would be a busy loop.
            await self.backoff.pause()
        return sorted(updates, key=lambda update: update.id)

    async def _take(self, updates: list[Update]) -> None:
        """Chats at the same time, each in its order. What could not be kept, and all behind it, comes again."""
        if not updates:
            self.backoff.reset()
            return
        lost: list[int] = []
        chats: dict[int, list[list[Update]]] = {}
        for album in albums(updates):
            chats.setdefault(album[0].chat, []).append(album)
        async with trio.open_nursery() as nursery:
            for each in chats.values():
                nursery.start_soon(self._take_chat, each, lost)
        self.offset = min(lost, default=updates[-1].id + 1)
        if lost:
            await self.backoff.pause()
        else:
            self.backoff.reset()

    async def _take_chat(self, chat: list[list[Update]], lost: list[int]) -> None:
        for album in chat:
            try:
                await self.intake.take(album)
            except JournalError as error:
                log.warning("a message was not kept and will come again: %s", error.problem)
                lost.append(album[0].id)
                return
            except Exception:  # the others must not wait for one that always breaks
                log.exception("update %s was left out", album[0].id)

    async def _refused(self, error: Refused) -> None:
        mend = denied(self.intake.options.name, error)
        if mend is not None:
            raise mend
        self._note(str(error))
        if error.code == _CONFLICT:
            await self.release()
            self._conflicts += 1
            if self._conflicts >= CONFLICTS:
                raise FairleadError(
                    f"another program polls with the token of channels.{self.intake.options.name}; "
                    "Telegram gives each message to one of them only",
                    next_step="stop the other program, or send /revoke to @BotFather and use the new token here",
                )
        await self.backoff.pause(error.retry_after or 0.0)


_CONFLICT = 409


def _is_list(found: object) -> bool:
    return isinstance(found, list)
