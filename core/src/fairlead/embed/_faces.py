"""The app as the host sees it: one face that blocks, for threads, and one that is awaited, for asyncio."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, ParamSpec, Self, TypedDict, TypeVar, TypeVarTuple, Unpack, overload

import trio

from fairlead._app import Reply
from fairlead._contracts import Tool
from fairlead._function import FunctionTool
from fairlead._message import Part, Principal
from fairlead._open import open_app
from fairlead._work import Delta
from fairlead.embed._portal import Call, Portal, block, loop_here, require_loop, require_thread, to_host, until

__all__ = ["App", "AsyncApp", "Stream", "start", "start_async", "tool"]

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Content = str | Sequence[Part]
_AHEAD = 64
"""Pieces that a model may be ahead of its reader; then it waits."""


class Question(TypedDict, total=False):
    """What a question may say beside its words, as in `fairlead.App.ask`."""

    session: str | None
    agent: str | None
    principal: Principal | None
    model: str | None


class Face:
    """What both faces have."""

    def __init__(self, portal: Portal, first: Face | None = None) -> None:
        """`first`: the face that this one was made from. Where nobody holds it any more, the app stops."""
        self._portal, self._first = portal, first
        self.inner = portal.app
        """The `fairlead.App` itself, for `call`; and what is no coroutine of it, as `reports`, from any thread."""
        if first is None:
            weakref.finalize(self, portal.stop, None).atexit = False

    def stream(self, content: Content, **question: Unpack[Question]) -> Stream:
        """As `ask`, piece by piece."""
        return Stream(self, self._portal, partial(self.inner.ask, content, **question))


class App(Face):
    """A running app, for threads and sync code: each method blocks, and may be called from many threads at once.

    Made by `start`. Every method raises `RuntimeError` where the app is closed, where this process is a fork of the one
    that has started it, and where it would wait for the very thread that it blocks.
    """

    @property
    def asyncio(self) -> AsyncApp:
        """The same app for coroutines."""
        return AsyncApp(self._portal, self)

    @overload
    def ask(self, content: Content, *, returns: type[T], timeout: float = ..., **question: Unpack[Question]) -> T: ...
    @overload
    def ask(self, content: Content, *, timeout: float | None = None, **question: Unpack[Question]) -> Reply: ...
    def ask(self, content: Content, *, timeout: float | None = None, **question: Any) -> Any:
        """One turn, as `fairlead.App.ask`; what that raises is raised here, with its type.

        `timeout`: seconds, with the time it waits for its session; then the turn is cancelled: `TimeoutError`. An
        exception that comes in the wait, as Ctrl-C does, cancels it too. `TurnCancelled`: the app was closed meanwhile.
        """
        return self._portal.run(partial(self.inner.ask, content, **question), timeout)

    def call(self, function: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Call any trio function in the app's thread: ``app.call(app.inner.sessions.history, "ann")``."""
        return self._portal.run(partial(function, *args))

    def close(self, grace: float | None = None) -> None:
        """Take nothing new, and wait for what runs, at most `grace` seconds (None: `limits.grace_seconds`).

        What is left then is cancelled: its callers get `TurnCancelled`. May be called more than once.
        """
        require_thread()
        stop = self._portal.stop
        block(self._portal.ended, partial(stop, grace), partial(stop, 0.0), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(None if kind is None else 0.0)


class AsyncApp(Face):
    """A running app, for asyncio. Made by `start_async`; it may be awaited on any loop, also on several at once."""

    @property
    def blocking(self) -> App:
        """The same app for threads."""
        return App(self._portal, self)

    @overload
    async def ask(self, content: Content, *, returns: type[T], **question: Unpack[Question]) -> T: ...
    @overload
    async def ask(self, content: Content, **question: Unpack[Question]) -> Reply: ...
    async def ask(self, content: Content, **question: Any) -> Any:
        """As `App.ask`. Cancelled, also by ``asyncio.timeout``: the turn is cancelled, and has come to its end."""
        return await self._portal.run_async(partial(self.inner.ask, content, **question))

    async def call(self, function: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """As `App.call`."""
        return await self._portal.run_async(partial(function, *args))


class Stream:
    """The pieces of one answer: ``for piece in app.stream("...")`` in a thread, ``async for`` on asyncio.

    The turn begins with the first piece that is asked for, and its errors come out of the loop. Leaving the loop, by
    ``break`` or by an exception, cancels it.
    """

    reply: Reply | None = None
    """The whole answer, once the last piece has come."""

    def __init__(self, face: Face, portal: Portal, ask: Callable[..., Awaitable[Reply]]) -> None:
        self._face, self._portal, self._ask = face, portal, ask
        self._send, self._receive = trio.open_memory_channel[Delta](_AHEAD)

    async def _run(self) -> None:
        with self._send:
            self.reply = await self._ask(emit=self._send.send)

    async def _piece(self) -> Delta | None:
        with suppress(trio.EndOfChannel):
            return await self._receive.receive()
        return None

    def __iter__(self) -> Iterator[Delta]:
        turn = Call[None]()
        try:
            self._portal.begin(turn, self._run)
            while (piece := self._portal.run(self._piece, outer=turn)) is not None:
                yield piece
            turn.result()
        finally:
            self._portal.post(turn.scope.cancel)

    async def __aiter__(self) -> AsyncIterator[Delta]:
        turn = self._portal.begin(Call[None](), self._run)
        give_up = partial(self._portal.post, turn.scope.cancel)
        try:
            while (piece := await self._portal.run_async(self._piece, turn)) is not None:
                yield piece
            await until(turn, give_up)
        finally:
            give_up()


def tool(function: Callable[..., Any], **said: Any) -> FunctionTool:
    """A function of the host as a tool: ``embed.tool(book, effect="read")``; `said` is as in `fairlead.tool`.

    A plain function runs in a worker thread, a coroutine function on the asyncio loop that runs where the app is
    started. Its `ToolContext`, where it takes one, is used from there: ``app.call(context.progress, "half done")``.
    """

    @functools.wraps(function)
    async def run(**arguments: Any) -> Any:
        return await to_host(function, **arguments)

    made = FunctionTool(run, **said)
    made.__wrapped__ = function  # type: ignore[attr-defined]  # as every wrapper has; `_portal` looks for coroutines
    return made


def _like(_: Callable[P, Any]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Typed with the parameters of the function that is named."""
    return lambda function: function


@_like(open_app)
def start(*config: Any, **workers: Any) -> App:
    """Start an app in a thread of its own: ``with embed.start(...) as app``, or ``app = embed.start(...)``.

    It takes what `fairlead.open` takes. Functions among the tools are as `tool` makes them. Channels that are handed in
    are served, and with them the configured ones. An app that nobody closes stops when nobody holds it any more, or
    when the program ends, which it does not hold up for more than 1.2 s.

    Raises what `fairlead.open` raises, and `RuntimeError` where a tool needs an asyncio loop and none runs here.
    """
    portal = _portal(*config, **workers)
    block(portal.started, portal.thread.start, partial(portal.stop, 0.0), None)
    return App(portal)


@_like(open_app)
@asynccontextmanager
async def start_async(*config: Any, **workers: Any) -> AsyncIterator[AsyncApp]:
    """The same for asyncio: ``async with embed.start_async(...) as app``. Nothing blocks the loop.

    At the end of the block the app is closed as by `App.close`; after an exception without grace.
    """
    require_loop()
    portal, grace = _portal(*config, **workers), 0.0
    try:
        portal.thread.start()
        await until(portal.started, partial(portal.stop, 0.0))
        yield AsyncApp(portal)
        grace = portal.app.config.limits.grace_seconds
    finally:
        portal.stop(grace)
        await until(portal.ended, partial(portal.stop, 0.0))


def _portal(*config: Any, tools: Sequence[Any] = (), **workers: Any) -> Portal:
    waiting = [bare.__name__ for bare in map(inspect.unwrap, tools) if inspect.iscoroutinefunction(bare)]
    if waiting and loop_here() is None:
        raise RuntimeError(f"{waiting[0]!r} needs an asyncio loop, and none runs here; next: embed.start_async()")
    hosts = [given if isinstance(given, Tool) else tool(given) for given in tools]
    opening = open_app(*config, tools=hosts, **workers)  # it runs in the thread
    return Portal(opening, serve=bool(workers.get("channels")))
