"""What comes: the long poll, whose position is kept on disk once the journal has all that stood before it."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trio
from attrs import define, field

from fairlead import Inbound, Inbox
from fairlead.errors import FairleadError, JournalUnavailable, SchemaError
from fairlead_matrix._account import Account
from fairlead_matrix._api import Broken, Refused, TooLarge, Unreachable, path_of
from fairlead_matrix._json import listed, load_file, mapped, save_file, texted
from fairlead_matrix._options import admits
from fairlead_matrix._reader import Reader
from fairlead_matrix._rooms import Rooms
from fairlead_matrix._writer import Writer

__all__ = ["Pauses", "Sync"]

POLL_SECONDS = 30.0
"""How long the server holds a request while nothing happens."""
SPARE_SECONDS = 30.0
"""More than that, and the server is taken to be stuck."""
SYNC_BYTES = 32_000_000
TIMELINE = 50
"""Events of one room in one answer; the others are asked for."""
PAGE = 100
INVITE_PAGES = 10
"""How far back the invitation to a new room is looked for."""
ROOMS_AT_ONCE = 8
SAVE_SECONDS = 60.0
"""How old the kept position may get while nothing comes that is ours: to read that again is harmless."""
JOIN_TRIES = 6
ROOM_TRIES = 8
BAD_REQUEST = 400

TYPES = ["m.room.message", "m.room.encrypted", "m.room.encryption", "m.room.member"]
log = logging.getLogger(__name__)


@define(eq=False)
class Pauses:
    """Seconds to wait after each failure: twice as long each time, less up to half by chance."""

    first: float = 1.0
    longest: float = 60.0
    chance: Callable[[], float] = random.random
    _failures: int = 0

    def next(self) -> float:
        pause = min(self.longest, self.first * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return pause * (1 - self.chance() / 2)

    def reset(self) -> None:
        self._failures = 0


@define(eq=False)
class Sync:
    """Reads the stream of one account, and hands in what is said."""

    account: Account
    rooms: Rooms
    reader: Reader
    writer: Writer
    pauses: Callable[[], Pauses] = Pauses
    _since: str = ""
    _invites: dict[str, str] = field(factory=dict)
    """Rooms that we are asked into and have not joined yet, and by whom."""
    _timeline: int = TIMELINE
    _saved: float | None = None
    """When, by trio's clock; None before the kept one was read."""
    _failed: int = 0
    """How often in a row some room could not be read."""
    _limit: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(ROOMS_AT_ONCE))
    _joins: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(ROOMS_AT_ONCE))

    async def run(self, inbox: Inbox) -> None:
        """Until cancelled. `LoggedOut`; `Refused` where the server will not have us."""
        failure: FairleadError | None = None
        async with trio.open_nursery() as nursery:
            try:
                await self._run(inbox, nursery)
            except FairleadError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:  # outside of the nursery, which would wrap it in a group
            raise failure

    async def _run(self, inbox: Inbox, nursery: trio.Nursery) -> None:
        pauses, ready = self.pauses(), False
        while True:
            pause = 0.0
            try:
                await self._step(inbox, nursery, wait=POLL_SECONDS if ready else 0.0)
                pauses.reset()
                if not ready:
                    inbox.ready(f"{self.account.options.homeserver} as {self.account.user_id}")
                    ready = True
            except TooLarge as error:
                pause = pauses.next()
                self._timeline = max(1, self._timeline // 2)
                log.warning("%s: %s; asking for less at a time", self.account.options.name, error.problem)
            except (Unreachable, Broken) as error:
                pause = pauses.next()
                log.warning("%s: %s; again in %.1f s", self.account.options.name, error.problem, pause)
            except Refused as refused:
                pause = max(pauses.next(), refused.retry_after or 0.0)
                self._refused(refused)
            await trio.sleep(pause)

    def _refused(self, refused: Refused) -> None:
        """Forget a position that the server does not know, wait where it limits the rate, else give up."""
        if refused.status == BAD_REQUEST and self._since:
            log.error(
                "%s: the server knows the kept position no more (%s); what was said since then is not answered",
                self.account.options.name,
                refused.problem,
            )
            self._since = ""
        elif refused.retry_after is None:
            raise refused

    async def _step(self, inbox: Inbox, nursery: trio.Nursery, wait: float) -> None:
        """One request, which the server may hold for `wait` seconds, and what it brings."""
        await self.account.ensure()
        if self._saved is None:
            await self._load()
        since, began = self._since, trio.current_time()
        # The first answer only says where the stream is now: what was said before is history.
        limit = self._timeline if since else 1
        params = {"filter": _filter(limit), "timeout": f"{wait * 1000:.0f}", **({"since": since} if since else {})}
        seconds = POLL_SECONDS + SPARE_SECONDS
        answer = await self.account.call("GET", path_of("sync"), params=params, seconds=seconds, most=SYNC_BYTES)
        position = texted(answer, "next_batch")
        if not position:
            raise Broken("the answer of the server has no next_batch")
        taken = await self._joined(inbox, nursery, mapped(answer, "rooms", "join")) if since else 0
        for room_id in mapped(answer, "rooms", "leave"):
            self.rooms.forget(room_id)
        asked = self._asked_into(mapped(answer, "rooms", "invite"))
        self._since = position
        now = trio.current_time()
        if taken or asked or not since or now - (self._saved or 0.0) > SAVE_SECONDS:
            await self._save()
        for room_id in asked if wait else list(self._invites):  # at first, also those of an earlier run
            nursery.start_soon(self._join, room_id)
        if wait and position == since and now - began < self.pauses().first:
            await trio.sleep(self.pauses().first)  # a server that does not wait must not keep a processor busy

    # -- rooms

    async def _joined(self, inbox: Inbox, nursery: trio.Nursery, joined: Mapping[str, Any]) -> int:
        """Hand in what was said in all rooms; how many messages that were.

        A room that fails is tried again with all others, whose messages are then known by their ids. One that goes on
        failing, or that we may not read, is given up: it must not keep the others waiting for ever.
        """
        counts: list[int] = []
        faults: list[FairleadError] = []

        async def one(room_id: str, data: Any) -> None:
            async with self._limit:
                try:
                    counts.append(await self._room(inbox, nursery, room_id, data))
                except (Unreachable, Broken, Refused) as error:
                    refused = isinstance(error, Refused) and error.retry_after is None
                    lasting = isinstance(error, Broken) and self._failed >= ROOM_TRIES
                    if not refused and not lasting:
                        faults.append(error)
                        return
                    log.error("%s: the room %s is left out: %s", self.account.options.name, room_id, error.problem)  # noqa: TRY400  # its trace says no more
                except FairleadError as error:
                    faults.append(error)

        async with trio.open_nursery() as rooms:
            for room_id, data in joined.items():
                rooms.start_soon(one, room_id, data)
        if faults:
            self._failed += 1
            raise faults[0]
        self._failed = 0
        return sum(counts)

    async def _room(self, inbox: Inbox, nursery: trio.Nursery, room_id: str, data: Any) -> int:
        """One room, in its order."""
        last, count = None, 0

        async def take(events: Sequence[Mapping[str, Any]]) -> None:
            nonlocal last, count
            for event in events:
                inbound = await self.reader.read(room_id, event)
                if inbound is not None and await self._hand_in(inbox, inbound):
                    last, count = inbound, count + 1

        timeline = _events(data, "timeline", "events")
        for event in (*_events(data, "state", "events"), *timeline):
            self.rooms.note(room_id, event)
        before = texted(data, "timeline", "prev_batch")
        entered = next((event for event in reversed(timeline) if self._is_own(event, "join")), None)
        if entered is not None:
            timeline = await self._since_invited(room_id, entered, timeline, before)
        elif mapped(data, "timeline").get("limited") is True and before:
            await self._fill(room_id, before, take)
        await take(timeline)
        if last is not None and self.account.options.receipts:
            nursery.start_soon(self.writer.read_up_to, last.address, last.external_id)
        return count

    async def _fill(self, room_id: str, before: str, take: Callable[[Sequence[Mapping[str, Any]]], Any]) -> None:
        """What was said between the known position and the timeline, oldest first, page by page."""
        params = {"dir": "f", "from": self._since, "to": before, "limit": str(PAGE), "filter": _WANTED}
        while True:
            page = await self.account.call("GET", path_of("rooms", room_id, "messages"), params=params, most=SYNC_BYTES)
            await take(_events(page, "chunk"))
            end = texted(page, "end")
            if not end or end == params["from"] or not listed(page, "chunk"):
                return
            params["from"] = end

    async def _since_invited(
        self, room_id: str, entered: Mapping[str, Any], timeline: Sequence[Mapping[str, Any]], before: str
    ) -> Sequence[Mapping[str, Any]]:
        """Of a room that was just joined: what was said since the invitation, and nothing of its history."""
        invited = texted(entered, "unsigned", "prev_content", "membership") == "invite"
        events, pages = list(timeline), 0
        while (
            invited and before and pages < INVITE_PAGES and not any(self._is_own(event, "invite") for event in events)
        ):
            params = {"dir": "b", "from": before, "limit": str(PAGE), "filter": _WANTED}
            page = await self.account.call("GET", path_of("rooms", room_id, "messages"), params=params, most=SYNC_BYTES)
            chunk = _events(page, "chunk")
            events, before, pages = [*reversed(chunk), *events], texted(page, "end") if chunk else "", pages + 1
        own = "invite" if invited and any(self._is_own(event, "invite") for event in events) else "join"
        first = max(place for place, event in enumerate(events) if self._is_own(event, own))
        return events[first + 1 :]

    def _is_own(self, event: Mapping[str, Any], membership: str) -> bool:
        """Whether this is the event by which we came to be that in a room."""
        mine = event.get("type") == "m.room.member" and event.get("state_key") == self.account.user_id
        was = texted(event, "unsigned", "prev_content", "membership")
        return mine and texted(event, "content", "membership") == membership != was

    async def _hand_in(self, inbox: Inbox, inbound: Inbound) -> bool:
        """Return when the journal has it, however long that takes. False where it is malformed and dropped."""
        pauses, name = self.pauses(), self.account.options.name
        where, event_id, sender = inbound.address, inbound.external_id, inbound.author.id
        while True:
            try:
                receipt = await inbox.accept(inbound)
            except JournalUnavailable as error:
                pause = pauses.next()
                log.warning("%s: %s is not kept yet (%s); again in %.1f s", name, event_id, error.problem, pause)
                await trio.sleep(pause)
                continue
            except SchemaError as error:
                log.warning("%s: %s of %s was not taken: %s", name, event_id, sender, error.problem)
                await self.writer.notice(where, event_id, sender, f"This message was not taken: {error.problem}")
                return False
            if receipt.notice:
                await self.writer.notice(where, event_id, sender, receipt.notice)
            return True

    # -- invitations

    def _asked_into(self, invites: Mapping[str, Any]) -> list[str]:
        """Keep in mind the rooms that we are asked into and shall join."""
        asked = []
        for room_id, data in invites.items():
            states = _events(data, "invite_state", "events")
            inviter = next((texted(event, "sender") for event in states if self._is_own(event, "invite")), "")
            if not admits(self.account.options, inviter, self.account.user_id):
                log.info("%s: %s asks into %s: not by `invites`", self.account.options.name, inviter, room_id)
            elif room_id not in self._invites:
                self._invites[room_id] = inviter
                asked.append(room_id)
        return asked

    async def _join(self, room_id: str) -> None:
        pauses = Pauses(first=2.0, longest=600.0)
        for _ in range(JOIN_TRIES):
            try:
                async with self._joins:
                    await self.account.call("POST", path_of("join", room_id), {})
                break
            except Refused as refused:
                if refused.retry_after is None:
                    log.warning("%s: %s was not joined: %s", self.account.options.name, room_id, refused.problem)
                    break
                pause = max(pauses.next(), refused.retry_after)
            except FairleadError as error:
                pause = pauses.next()
                log.info("%s: %s is not joined yet: %s", self.account.options.name, room_id, error.problem)
            await trio.sleep(pause)
        self._invites.pop(room_id, None)

    # -- the position

    async def _load(self) -> None:
        kept = await trio.to_thread.run_sync(load_file, self._path)
        if (kept.get("homeserver"), kept.get("user_id")) == (self.account.options.homeserver, self.account.user_id):
            self._since = texted(kept, "next_batch")
            self._invites = {room_id: str(inviter) for room_id, inviter in mapped(kept, "invites").items()}
        self._saved = trio.current_time()

    async def _save(self) -> None:
        kept = {"homeserver": self.account.options.homeserver, "user_id": self.account.user_id}
        value = {**kept, "next_batch": self._since, "invites": dict(self._invites)}
        try:
            await trio.to_thread.run_sync(save_file, self._path, value)
        except OSError as error:  # what is read again after a restart is known by its ids
            log.error("%s: the position could not be kept: %s", self.account.options.name, error)  # noqa: TRY400  # its trace says no more
        self._saved = trio.current_time()

    @property
    def _path(self) -> Any:
        return self.account.options.directory / "sync.json"


_WANTED = json.dumps({"types": TYPES})


def _events(value: Any, *keys: str) -> Sequence[Mapping[str, Any]]:
    return [event for event in listed(value, *keys) if isinstance(event, dict)]


def _filter(timeline: int) -> str:
    """What the server shall send: messages and what they depend on; nothing of presence, receipts and settings."""
    nothing: dict[str, Any] = {"types": []}
    room = {
        "timeline": {"limit": timeline, "types": TYPES},
        "state": {"types": ["m.room.encryption"]},
        "ephemeral": nothing,
        "account_data": nothing,
    }
    return json.dumps({"room": room, "presence": nothing, "account_data": nothing})
