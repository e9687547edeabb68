"""The webhook: Telegram posts each update here, and keeps what is not answered with 200.

One route, h11 on trio streams, bounded in size, time and number; on loopback, behind a server that speaks TLS. A whole
framework would need a thread with a loop of its own for it.
https://core.telegram.org/bots/api#setwebhook
"""

from __future__ import annotations

import hmac
import json
import logging
import math

import h11
import trio
from attrs import define, field

from fairlead.errors import JournalError
from fairlead_telegram._intake import Intake
from fairlead_telegram._poll import ALBUM_SECONDS
from fairlead_telegram._updates import Update, read_update

__all__ = ["SECRET_HEADER", "Hook"]

SECRET_HEADER = "x-telegram-bot-api-secret-token"
MAX_BODY_BYTES = 2**20
MAX_HEAD_BYTES = 16_384
READ_SECONDS = 10.0
"""For one whole request."""
IDLE_SECONDS = 75.0
"""Between two requests of one connection."""
MAX_CONNECTIONS = 200
ORDER_SECONDS = 0.5
"""How long an update waits for one before it, which may be on its way, or of a kind that was not asked for."""
MAX_TAKEN = 100
"""Updates that are taken at the same time; more are asked to come again."""

log = logging.getLogger(__name__)


@define(eq=False)
class _Album:
    updates: list[Update]
    done: trio.Event = field(factory=trio.Event)
    status: int = 503


@define(eq=False)
class Hook:
    """Takes requests to the intake. `serve` one connection."""

    intake: Intake
    secret: str = field(repr=False)
    _connections: int = 0
    _taken: int = 0
    _albums: dict[str, _Album] = field(factory=dict)
    _chats: dict[int, trio.StrictFIFOLock] = field(factory=dict)
    _last: int | None = None
    """The number of the newest update that has begun."""
    _waiting: set[int] = field(factory=set)
    _moved: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Until the client goes, or says what no HTTP is."""
        self._connections += 1
        try:
            if self._connections <= MAX_CONNECTIONS:
                await self._converse(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            return
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        while True:
            with trio.move_on_after(IDLE_SECONDS) as scope:
                request = await _next(http, stream)
            if scope.cancelled_caught or not isinstance(request, h11.Request):
                return
            status = await self._respond(http, stream, request)
            headers = [("Content-Length", "0")]
            if http.their_state is not h11.DONE:
                headers.append(("Connection", "close"))
            reply = h11.Response(status_code=status, headers=headers)
            with trio.fail_after(READ_SECONDS):
                await stream.send_all((http.send(reply) or b"") + (http.send(h11.EndOfMessage()) or b""))
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()

    async def _respond(self, http: h11.Connection, stream: trio.SocketStream, request: h11.Request) -> int:
        """The status of one request. Who does not know the secret learns nothing, and costs nothing."""
        headers = {bytes(name).decode("latin-1"): bytes(value) for name, value in request.headers}
        if not hmac.compare_digest(headers.get(SECRET_HEADER, b""), self.secret.encode()):
            return 401
        if request.method != b"POST":
            return 405
        body = bytearray()
        try:
            with trio.fail_after(READ_SECONDS):
                if http.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    await stream.send_all(http.send(go_on) or b"")
                while isinstance(event := await _next(http, stream), h11.Data):
                    body += event.data
                    if len(body) > MAX_BODY_BYTES:
                        return 413
        except trio.TooSlowError:
            return 408
        if not isinstance(event, h11.EndOfMessage):
            return 400
        return await self._take(bytes(body))

    async def _take(self, body: bytes) -> int:
        try:
            update = read_update(json.loads(body))
        except (ValueError, RecursionError):
            return 400
        if update is None:
            return 200
        if self._taken >= MAX_TAKEN:
            return 503
        self._taken += 1
        try:
            await self._wait_turn(update.id)
            return await (self._gather(update) if update.group else self._keep([update]))
        finally:
            self._taken -= 1

    async def _wait_turn(self, number: int) -> None:
        """Telegram posts several updates at a time. They are numbered, so one that is early waits for those before."""
        deadline = trio.current_time() + ORDER_SECONDS
        self._waiting.add(number)
        try:
            while True:
                late = trio.current_time() >= deadline
                follows = self._last is not None and number <= self._last + 1
                if number == min(self._waiting) and (follows or late):
                    break
                with trio.move_on_at(math.inf if late else deadline):
                    await self._moved.park()
            self._last = max(number, self._last or 0)
        finally:
            self._waiting.discard(number)
            self._moved.unpark_all()

    async def _gather(self, update: Update) -> int:
        """The messages of an album come as requests of their own: the first one waits for the others."""
        album = self._albums.get(update.group)
        if album is not None:
            if update not in album.updates:  # Telegram has posted it again
                album.updates.append(update)
            await album.done.wait()
            return album.status
        album = self._albums[update.group] = _Album([update])
        try:
            await trio.sleep(ALBUM_SECONDS)
            del self._albums[update.group]
            album.status = await self._keep(sorted(album.updates, key=lambda each: each.id))
        finally:
            self._albums.pop(update.group, None)
            album.done.set()
        return album.status

    async def _keep(self, updates: list[Update]) -> int:
        chat = updates[0].chat
        lock = self._chats.setdefault(chat, trio.StrictFIFOLock())
        try:
            async with lock:
                await self.intake.take(updates)
        except JournalError as error:
            log.warning("a message was not kept and will come again: %s", error.problem)
            return 503
        except Exception:  # Telegram would send it again and again, and the others after it
            log.exception("update %s was left out", updates[0].id)
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._chats.pop(chat, None)
        return 200


async def _next(http: h11.Connection, stream: trio.SocketStream) -> object:
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await stream.receive_some(MAX_HEAD_BYTES))
    return event
