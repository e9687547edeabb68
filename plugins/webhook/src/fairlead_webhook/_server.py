"""uvicorn in a thread of its own, bridged to trio.

The one module with asyncio. Hypercorn on trio costs many times uvicorn's CPU for a request, and cannot be stopped while
one client does not read; so the server has its own loop, in a thread, and each request comes into trio as one call.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import trio
import uvicorn
from attrs import define, field
from starlette.types import ASGIApp, Receive, Scope, Send

from fairlead.errors import FairleadError

__all__ = ["Bridge", "HTTPServer", "Stopping"]

T = TypeVar("T")

GRACE_SECONDS = 2
"""How long requests may go on after the stop, whole seconds as uvicorn wants it."""
STOP_SECONDS = 4.5
"""How long the thread is waited for: below the five that a channel has."""

log = logging.getLogger(__name__)


class Stopping(Exception):
    """Trio does not take the call any more: the channel stops. Whoever asked may ask again later."""


@define(eq=False)
class Bridge:
    """From the server's thread into trio, and its clock for slow clients."""

    _token: trio.lowlevel.TrioToken
    _nursery: trio.Nursery
    _calls: set[trio.CancelScope] = field(factory=set)
    _readers: set[asyncio.Timeout] = field(factory=set)
    _open: bool = True
    stopping: bool = False
    """No request begins any more."""

    async def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await a trio function, from asyncio. Cancellation goes along; `Stopping`: it did not run to its end."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        scope = trio.CancelScope(shield=True)  # the stop waits for calls that are under way, within its limits

        def settle(value: T | None, error: Exception | None) -> None:
            if not future.done():
                future.set_result(value) if error is None else future.set_exception(error)  # type: ignore[arg-type]  # a value came where no error did

        async def run() -> None:
            outcome: tuple[T | None, Exception | None] = (None, Stopping())
            self._calls.add(scope)
            try:
                with scope:
                    outcome = (await function(*args), None)
            except Exception as error:  # noqa: BLE001  # it belongs to whoever called
                outcome = (None, error)
            finally:
                self._calls.discard(scope)
                with suppress(RuntimeError):  # the server's loop has ended meanwhile
                    loop.call_soon_threadsafe(settle, *outcome)

        def start() -> None:
            if self._open:
                self._nursery.start_soon(run)
            else:
                loop.call_soon_threadsafe(settle, None, Stopping())

        self._token.run_sync_soon(start)
        try:
            return await future
        except asyncio.CancelledError:
            self.post(scope.cancel)
            raise

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function in trio's thread soon; it must not raise. From any thread."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(functools.partial(function, *args))

    @asynccontextmanager
    async def reading(self, seconds: float) -> AsyncIterator[None]:
        """`TimeoutError` where the block takes longer, or the server stops: a slow client holds up neither."""
        async with asyncio.timeout(0 if self.stopping else seconds) as timeout:
            self._readers.add(timeout)
            try:
                yield
            finally:
                self._readers.discard(timeout)

    def hurry_readers(self) -> None:
        """In the server's thread: whoever has not yet sent a whole request is refused now."""
        self.stopping = True
        for timeout in self._readers:
            with suppress(RuntimeError):  # it expires already
                timeout.reschedule(0.0)

    def close(self) -> None:
        """In trio's thread, once the server has ended: nobody waits for what is still under way."""
        self._open = False
        for scope in self._calls:
            scope.cancel()


class _Uvicorn(uvicorn.Server):
    """uvicorn, telling when it listens, waking once a second instead of ten times, and leaving no connection behind."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = started
        self.loop: asyncio.AbstractEventLoop | None = None
        self.wake = asyncio.Event()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().serve(sockets)
        finally:
            for connection in list(self.server_state.connections):
                # What a client does not read is thrown away: waiting for it would have no end.
                transport = getattr(connection, "transport", None)
                if transport is not None:
                    transport.abort()
            await asyncio.sleep(0)  # the loop tells the connections that they are lost

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self._on_started()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # 0: the header `Date` is made anew
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), 1.0)


@define(eq=False)
class HTTPServer:
    """An ASGI app on a listening socket. Everything here is called in trio's thread, but for `_run` and `_guard`."""

    bridge: Bridge
    _socket: socket.socket
    _app: ASGIApp
    _max_connections: int
    _state: trio.Event = field(factory=trio.Event)
    """Set when the server listens, or has ended before."""
    _ended: trio.Event = field(factory=trio.Event)
    _error: BaseException | None = None
    _uvicorn: _Uvicorn | None = None
    _thread: threading.Thread | None = None

    async def start(self) -> None:
        """Return when requests are taken. `FairleadError`: the server ended at once."""
        config = uvicorn.Config(
            self._guard,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=self._max_connections,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._uvicorn = _Uvicorn(config, functools.partial(self.bridge.post, self._state.set))
        self._thread = threading.Thread(target=self._run, args=(self._uvicorn,), name="webhook", daemon=True)
        self._thread.start()
        await self._state.wait()
        if self._ended.is_set():
            raise self.failure()

    async def wait(self) -> None:
        """Until the server's thread has ended."""
        await self._ended.wait()

    def failure(self) -> FairleadError:
        """Why the thread ended although nobody had asked it to."""
        found = f"{type(self._error).__name__}: {self._error}" if self._error else "it returned"
        failure = FairleadError(f"the HTTP server's thread has ended by itself ({found})")
        failure.__cause__ = self._error
        return failure

    async def stop(self) -> bool:
        """Refuse new requests, give those under way `GRACE_SECONDS`, end the thread. False where it does not end."""
        server = self._uvicorn
        if server is not None:
            server.should_exit = True
            if server.loop is not None:
                with suppress(RuntimeError):  # its loop has ended already
                    server.loop.call_soon_threadsafe(self.bridge.hurry_readers)
                    server.loop.call_soon_threadsafe(server.wake.set)
        with trio.move_on_after(STOP_SECONDS):
            await self._ended.wait()
            if self._thread is not None:  # it has said its last word
                await trio.to_thread.run_sync(self._thread.join)
        self.bridge.close()
        return self._ended.is_set()

    def _run(self, server: _Uvicorn) -> None:
        error: BaseException | None = None
        try:
            server.run(sockets=[self._socket])
        except BaseException as caught:  # noqa: BLE001  # uvicorn also ends by SystemExit; trio's side decides
            error = caught
        finally:
            self._socket.close()
            self.bridge.post(self._end, error)

    def _end(self, error: BaseException | None) -> None:
        self._error = error
        self._state.set()
        self._ended.set()

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Cut requests that outlast the stop are no faults of ours: no traceback for them."""
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self.bridge.stopping:
                raise
            log.info("a request was cut off, since its client did not let go of it before the server stopped")
