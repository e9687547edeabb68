"""A thread that runs trio and an app in it, calls into that thread from any other one, and calls from it to the host.

How an asyncio host awaits without the core importing asyncio: only somebody who awaits on asyncio comes that way, so
the host has imported it, and `sys.modules` has it. Of it this file uses what waits for a `concurrent.futures.Future`,
what runs a coroutine from another thread, and which loop runs. A host without asyncio pays nothing for it.

How the interpreter ends: the thread is a daemon, so an app that nobody closed keeps no program from ending. At exit it
has half a second to come to its end, then what runs is cancelled. What a channel had accepted is in the journal and is
left for the next process, as after a kill.

A fork copies everything but the thread: in the child every call is refused at once. Signals stay the host's.
"""

from __future__ import annotations

import atexit
import contextvars
import inspect
import math
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any, TypeVar

import trio

from fairlead._app import App
from fairlead._leaf import leaf
from fairlead.errors import TurnCancelled

__all__ = ["Call", "Portal", "block", "loop_here", "require_loop", "require_thread", "to_host", "until"]

T = TypeVar("T")
Work = Callable[[], Awaitable[T]]
_EXIT_GRACE, _EXIT_SECONDS = 0.5, 1.2
"""Seconds at the interpreter's exit: for what runs, and in all."""
_SLICE = 1.0
_LAST_WORDS = 6.0
"""Seconds that a caller who gave up waits for the end of what it called: the journal has five to write it down."""
_THREADS = 100
"""Functions of the host at once; the next one waits. They take no threads from the app itself."""
_FORKED = (
    "this app was started in process {}, and a fork has no thread of it; next: call embed.start() in this process "
    "(gunicorn: in post_fork, or at the first request instead of on import)"
)
_CLOSED = "the app is closed, or closes: ask inside of `with embed.start(...)`, or before close()"


def loop_here() -> Any:
    """The asyncio loop that runs in this thread, or None."""
    with suppress(KeyError, RuntimeError):
        return sys.modules["asyncio"].get_running_loop()


def require_loop() -> None:
    if loop_here() is None:
        raise RuntimeError("no asyncio loop runs here; next: embed.start() without one, fairlead.open() on trio")


def require_thread() -> None:
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return
    raise RuntimeError("trio runs in this thread, and would be blocked; next: fairlead.open(), or app.inner.ask()")


class Call(Future[T]):
    """One call into the thread."""

    def __init__(self) -> None:
        super().__init__()
        self.scope = trio.CancelScope()
        self.set_running_or_notify_cancel()  # a task of asyncio that is cancelled does not end it: the scope does

    def fail(self, error: BaseException) -> None:
        """It ends so, where it has not ended."""
        if not self.done():
            self.set_exception(error)


def block(future: Future[T], begin: Callable[[], object], give_up: Callable[[], object], timeout: float | None) -> T:
    """Begin it, and wait for it in this thread. An exception here, `TimeoutError` too, gives it up, and waits as well.

    Ctrl-C may come at any line: so it begins where it is known already how to end it.
    """
    try:
        begin()
        end = math.inf if timeout is None else time.monotonic() + timeout
        # In slices: a signal that comes just before a wait does not end it, and is seen when it begins again.
        while not future.done() and (left := end - time.monotonic()) > 0:
            wait((future,), min(left, _SLICE))
        return future.result(0)
    except BaseException as error:
        if not future.done():
            give_up()
            wait((future,), _LAST_WORDS)
            if isinstance(error, TimeoutError) and timeout is not None:
                raise TimeoutError(f"no end within {timeout:g} s; it was cancelled") from None
        raise


async def until(future: Future[T], give_up: Callable[[], object]) -> T:
    """The same on asyncio, where the exception is that the task was cancelled."""
    asyncio = sys.modules["asyncio"]
    try:
        return await asyncio.wrap_future(future)  # type: ignore[no-any-return]  # a module that nobody imported here
    except BaseException:
        if not future.done():
            give_up()
            over = asyncio.gather(asyncio.wrap_future(future), return_exceptions=True)
            await asyncio.wait([over], timeout=_LAST_WORDS)
        raise


class Portal:
    """The thread. It has the app and the calls into it, and knows none of those who call, who may give it up."""

    def __init__(self, opening: AbstractAsyncContextManager[App], *, serve: bool) -> None:
        """Coroutine functions of the host will run on the asyncio loop that runs here. `thread` is not yet started."""
        self.loop = loop_here()
        self.started, self.ended = Call[None](), Call[None]()
        self.blocked: Call[Any] | None = None
        """For which the thread of that loop waits, or was the last to wait."""
        self._opening, self._serve = opening, serve
        self._process = os.getpid()
        self._token: trio.lowlevel.TrioToken | None = None
        self._calls: set[Call[Any]] = set()
        self._closing = False
        self._stopping, self._drain = trio.Event(), trio.CancelScope()
        self.thread = threading.Thread(target=self._live, name="fairlead", daemon=True)

    # -- in the thread

    def _live(self) -> None:
        atexit.register(self._exit)
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001  # it belongs to whoever starts or closes the app
            (self.ended if self.started.done() else self.started).set_exception(leaf(error))
        atexit.unregister(self._exit)
        if not self.ended.done():
            self.ended.set_result(None)
        for call in (self.started, *self._calls):  # nobody begins one any more: see `begin`
            call.fail(RuntimeError(_CLOSED))

    async def _main(self) -> None:
        _HERE.set(self)
        self.limiter = trio.CapacityLimiter(_THREADS)
        self._token = trio.lowlevel.current_trio_token()
        if self._closing:  # before there was a token
            self._drain.cancel()
        with self._drain:
            async with self._opening as self.app, trio.open_nursery() as self._tasks:  # which waits for the calls
                if self._serve:
                    self._tasks.start_soon(self.app.serve)
                self.started.set_result(None)
                await self._stopping.wait()
                self.app.stop()

    def _stop(self, grace: float | None) -> None:
        seconds = self.app.config.limits.grace_seconds if grace is None else grace
        self._drain.deadline = min(self._drain.deadline, trio.current_time() + seconds)
        self._stopping.set()

    def _start(self, call: Call[T], function: Work[T]) -> None:
        try:
            self._tasks.start_soon(self._run, call, function)
        except RuntimeError:  # the nursery has ended meanwhile
            call.fail(RuntimeError(_CLOSED))

    async def _run(self, call: Call[T], function: Work[T]) -> None:
        _CALL.set(call)
        try:
            with call.scope:
                call.set_result(await function())
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001  # it belongs to whoever called
            call.fail(error)
        finally:
            self._calls.discard(call)
            if not call.done():
                call.fail(TurnCancelled("the app was closed before this had come to its end"))

    # -- from any thread

    def begin(self, call: Call[T], function: Work[T], outer: Call[Any] | None = None) -> Call[T]:
        """Begin a call, under the caller's context variables. `outer`: it belongs to another one, which runs.

        It fails with `RuntimeError` where the app is closed, or closes, or was started in the process that this one was
        forked from.
        """
        self._calls.add(call)
        if os.getpid() != self._process:
            call.fail(RuntimeError(_FORKED.format(self._process)))
        elif self.ended.done() or (self._closing and outer is None):
            call.fail(RuntimeError(_CLOSED))
        else:
            self.post(contextvars.copy_context().run, self._start, call, function)
        return call

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Call it in the thread soon, from finalizers and signals too; it must not raise."""
        if self._token is not None and os.getpid() == self._process:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(function, *args)

    def run(self, function: Work[T], timeout: float | None = None, outer: Call[Any] | None = None) -> T:
        """Call, and block this thread."""
        require_thread()
        call = Call[T]()
        if loop_here() is self.loop:
            self.blocked = outer or call
        begin = partial(self.begin, call, function, outer)
        return block(call, begin, partial(self.post, call.scope.cancel), timeout)

    async def run_async(self, function: Work[T], outer: Call[Any] | None = None) -> T:
        """Call, and await it on asyncio."""
        require_loop()
        call = self.begin(Call[T](), function, outer)
        return await until(call, partial(self.post, call.scope.cancel))

    def stop(self, grace: float | None) -> None:
        """Take no more calls, and end after `grace` seconds at most. Immediate, from finalizers too."""
        if os.getpid() != self._process and not self.ended.done():
            self.ended.set_result(None)  # a fork has nothing to wait for
        self._closing = True
        self.post(self._stop, grace)

    def _exit(self) -> None:
        self.stop(_EXIT_GRACE)
        self.thread.join(_EXIT_SECONDS)


_CALL: contextvars.ContextVar[Call[Any]] = contextvars.ContextVar("fairlead.embed")
_HERE: trio.lowlevel.RunVar[Portal | None] = trio.lowlevel.RunVar("fairlead.embed", None)


async def to_host(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function of the host where it belongs: a plain one in a worker thread, a coroutine function on its loop.

    `RuntimeError`: no app of `embed` runs here, or none was started where an asyncio loop ran. Cancelled: a coroutine
    is cancelled too, a plain function is left behind in its thread.
    """
    portal, call = _HERE.get(), partial(function, *args, **kwargs)
    if portal is None or (inspect.iscoroutinefunction(function) and portal.loop is None):
        raise RuntimeError(f"no host is known that could run {function!r}; next: embed.start(), or start_async()")
    if not inspect.iscoroutinefunction(function):
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=portal.limiter)
    if (waiting := portal.blocked) is not None and waiting is _CALL.get(None):
        waiting.fail(RuntimeError(f"{function!r} needs the loop that waits for it here; next: await app.asyncio.ask()"))
        waiting.scope.cancel()
    ended = trio.Event()
    future = sys.modules["asyncio"].run_coroutine_threadsafe(call(), portal.loop)
    future.add_done_callback(lambda _: portal.post(ended.set))
    try:
        await ended.wait()
    finally:
        future.cancel()
    return future.result()
