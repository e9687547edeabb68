"""One life of a plugin's process: launched, prepared, served, ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import trio
from attrs import define, frozen

from fairlead.errors import FairleadError, IsolationUnavailable
from fairlead_sandbox.boundary import Peer, Serve
from fairlead_sandbox.errors import SandboxError, SandboxLost
from fairlead_sandbox.process._running import Running

__all__ = ["Ending", "Life", "Pulse"]

PATIENCE = 2.0
"""Seconds: for a process whose input has ended to end as well, and for the last words of one that was killed."""


@frozen
class Pulse:
    """How it is found out that a process lives and does nothing: it spins, or its event loop is blocked."""

    ask: Callable[[Peer], Awaitable[object]]
    """Asks something that costs nothing."""
    every: float = 15.0
    """Seconds."""
    within: float = 10.0
    """Seconds in which the answer must come; a process that does not give it is killed, which counts as a crash."""


@frozen
class Ending:
    """Why a life is over."""

    error: FairleadError
    """For whoever waited for it."""
    words: str = ""
    """The last ones."""
    crashed: bool = True
    """The plugin's own fault; otherwise the machine could not even isolate it."""


@define(eq=False)
class Life:
    """Made for each start."""

    launch: Callable[[], Awaitable[Running]]
    prepare: Callable[[Peer], Awaitable[None]]
    serve: Serve | None
    pulse: Pulse | None
    start_seconds: float
    running: Running | None = None
    _reason: str = ""
    """Why we killed it."""

    async def live(self, ready: Callable[[Peer], None]) -> Ending:
        """From the start to the end. `ready` is called once, when it is prepared. Cancelled: it is killed."""
        try:
            self.running = running = await self.launch()
        except IsolationUnavailable as error:
            return Ending(error, crashed=False)
        except Exception as error:  # noqa: BLE001  # whatever an engine raises, the other plugins go on
            return Ending(_typed(error, "it could not be started"), str(error))
        return await self._attend(running, ready)

    async def stop(self) -> None:
        """End of its input first; what has not ended 2 s later is killed."""
        if self.running is None:
            return
        with suppress(Exception), trio.move_on_after(PATIENCE):  # the stream may be closed already
            await self.running.stream.send_eof()
            await self.running.wait()
        await self.running.kill()

    async def _attend(self, running: Running, ready: Callable[[Peer], None]) -> Ending:
        kill = partial(self._kill, running, "it did not end a cancelled call in 2 s, and was killed")
        peer = Peer(running.stream, on_stuck=kill, last_words=running.wait)
        if self.serve is not None:
            peer = Peer(running.stream, serve=self.serve, on_stuck=kill, last_words=running.wait)
        failed: FairleadError | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, peer, nursery.cancel_scope)
                failed = await self._get_ready(peer, ready)
                if failed is None:
                    await self._feel(peer, running)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await running.kill()
                words = await _last_words(running)
        said = "; ".join(word for word in (self._reason, words) if word)
        over = failed or peer.ended or SandboxLost("it ended")
        if self._reason or not said:
            said = said or over.problem
        elif type(over) is not SandboxLost:
            said = f"{over.problem}; {said}"
        return Ending(_with_words(over, words), said)

    async def _read(self, peer: Peer, scope: trio.CancelScope) -> None:
        await peer.run()
        scope.cancel()

    async def _get_ready(self, peer: Peer, ready: Callable[[Peer], None]) -> FairleadError | None:
        try:
            with trio.fail_after(self.start_seconds):
                await self.prepare(peer)
        except trio.TooSlowError:
            return SandboxLost(f"it was not ready within {self.start_seconds:g} s")
        except Exception as error:  # noqa: BLE001  # a plugin may raise anything while it loads
            return _typed(error, "it could not be prepared")
        ready(peer)
        return None

    async def _feel(self, peer: Peer, running: Running) -> None:
        """Until the pulse is gone, or for ever."""
        pulse = self.pulse
        while pulse is not None:
            await trio.sleep(pulse.every)
            async with trio.open_nursery() as nursery:
                answered = trio.Event()
                nursery.start_soon(self._ask, pulse, peer, answered)
                with trio.move_on_after(pulse.within):
                    await answered.wait()
                if not answered.is_set():
                    # Killed, and not cancelled first: that would give it two seconds more, and say another reason.
                    await self._kill(running, f"it did not answer within {pulse.within:g} s, and was killed")
        await trio.sleep_forever()

    async def _ask(self, pulse: Pulse, peer: Peer, answered: trio.Event) -> None:
        with suppress(Exception):  # an error is an answer: it lives
            await pulse.ask(peer)
        answered.set()

    async def _kill(self, running: Running, reason: str) -> None:
        self._reason = self._reason or reason
        await running.kill()


def _typed(error: Exception, problem: str) -> FairleadError:
    return error if isinstance(error, FairleadError) else SandboxLost(f"{problem}: {type(error).__name__}: {error}")


def _with_words(error: FairleadError, words: str) -> FairleadError:
    if isinstance(error, SandboxError) and not error.last_words:
        error.last_words = words
    return error


async def _last_words(running: Running) -> str:
    with trio.move_on_after(PATIENCE):
        return await running.wait()
    return "it did not end although it was killed"
