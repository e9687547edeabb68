"""The promises about the stream: pieces as they come, slow readers, cancellation, and a pool that stays healthy."""

from __future__ import annotations

from pathlib import Path

import trio
from attrs import evolve

from fairlead._message import text_of
from fairlead._work import Delta
from fairlead.testing._applies import applies
from fairlead.testing._fakes import Deltas
from fairlead.testing._provider_base import ANSWER, GENERATE, ProviderKit, checkpoints
from fairlead.testing._provider_wire import ModelReply
from fairlead.testing._worker_kit import promise, same, within

__all__ = ["ProviderStreams"]

POINTS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987)
"""After how many passes of the scheduler a request is cancelled: before it is sent, while it is, and in its answer."""
POOL = 20
"""Connections that a worker may keep after as many requests as there are points."""
NO_SERVER = "only a server of the kit's sees connections: set `wire`"


class ProviderStreams(ProviderKit):
    """Pieces, pressure, cancellation."""

    async def test_pieces_come_while_the_model_speaks(self, tmp_path: Path) -> None:
        """The first one is there before the model has said the second."""
        applies(self.wire, NO_SERVER)
        seen: list[str] = []
        async with self.saying(tmp_path, lambda _: ModelReply(("first", "second"))) as worker:
            assert self.server is not None
            gate = self.server.gate = trio.Event()
            early: list[bool] = []

            async def take(delta: Delta) -> None:
                seen.append(delta.text)
                early.append(not gate.is_set())
                gate.set()
                await trio.lowlevel.checkpoint()

            with within(self.seconds, "a piece comes before the next one is said", GENERATE):
                await worker.generate(await self.text_request(worker), take)
        promise(early and early[0], "emit is awaited for each piece that comes", GENERATE, seen)

    async def test_slow_reader_is_waited_for(self, tmp_path: Path) -> None:
        """While `emit` waits nothing else is emitted; and nothing is lost."""
        running, most, pieces = 0, 0, list[str]()

        async def take(delta: Delta) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            pieces.append(delta.text if delta.kind == "text" else "")
            running -= 1

        async with self.opened(tmp_path) as worker:
            with within(self.seconds, "a slow reader gets its answer", GENERATE):
                answer = await worker.generate(await self.text_request(worker), take)
            promise(running == 0, "emit has returned when generate() does", GENERATE, running)
        same(1, most, "emit is awaited: one piece at a time", GENERATE)
        same(text_of(answer.parts), "".join(pieces), "a slow reader gets every piece", ANSWER)

    async def test_error_of_the_reader_comes_out_as_it_is(self, tmp_path: Path) -> None:
        """A fault of the reader is no fault of the provider, and the next request works."""

        class ReaderIsBrokenError(Exception):
            pass

        async def fail(_: Delta) -> None:
            await trio.lowlevel.checkpoint()
            raise ReaderIsBrokenError

        async with self.opened(tmp_path) as worker:
            seen: object = None
            try:
                seen = await worker.generate(await self.text_request(worker), fail)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is what the check looks at
                seen = error
            await self.ask(worker, await self.text_request(worker))
        promise(isinstance(seen, ReaderIsBrokenError), "an error in emit comes out as it is", GENERATE, seen)

    async def test_cancelled_request_emits_nothing_more(self, tmp_path: Path) -> None:
        """Cancelled at the first piece."""
        async with self.opened(tmp_path) as worker:
            seen: list[Delta] = []
            scope = trio.CancelScope()

            async def cancel_at_first(delta: Delta) -> None:
                seen.append(delta)
                scope.cancel()
                await trio.lowlevel.checkpoint()

            request = await self.text_request(worker)
            with within(self.stop_seconds, "a cancelled request lets go at once", GENERATE), scope:
                await worker.generate(request, cancel_at_first)
        promise(len(seen) == 1, "cancelled means that nothing more is emitted", GENERATE, seen)

    async def test_cancelled_request_spares_the_next(self, tmp_path: Path) -> None:
        """Cancelled at its first piece and before it begins: the next request works."""
        async with self.opened(tmp_path) as worker:
            request = await self.text_request(worker)
            for early in (True, False):
                with (
                    within(self.stop_seconds, "a cancelled request lets go at once", GENERATE),
                    trio.CancelScope() as scope,
                ):
                    if early:
                        scope.cancel()
                    await worker.generate(request, lambda _, scope=scope: _cancel(scope))  # type: ignore[misc]  # mypy cannot infer a default of a lambda
                promise(not early or scope.cancelled_caught, "a cancelled request does not answer", GENERATE)
                await self.ask(worker, await self.text_request(worker))

    async def test_request_can_be_cancelled_at_any_point(self, tmp_path: Path) -> None:
        """Before it is sent, while it is, and in the answer: it ends at once, and the next one works."""
        async with self.opened(tmp_path) as worker:
            request = await self.text_request(worker)
            for point in POINTS:
                with within(self.stop_seconds, f"a request cancelled after {point} steps lets go at once", GENERATE):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(checkpoints, point, nursery.cancel_scope)
                        await worker.generate(request, Deltas())
                        nursery.cancel_scope.cancel()
                await self.ask(worker, request)

    async def test_cancelled_request_hangs_up(self, tmp_path: Path) -> None:
        """The server sees it go, and stops what costs money."""
        applies(self.wire, NO_SERVER)
        async with self.opened(tmp_path) as worker:
            assert self.server is not None
            await self.inject("stall")
            with trio.CancelScope() as scope:
                await worker.generate(await self.text_request(worker), lambda _: _cancel(scope))
            with within(self.seconds, "a cancelled request closes its connection", GENERATE):
                await self.server.until(lambda: self.server is not None and self.server.hung_up)
            await self.inject(None)
            await self.ask(worker, await self.text_request(worker))

    async def test_no_connection_is_leaked(self, tmp_path: Path) -> None:
        """After many requests, cancelled and answered and failed, few are open; after close() none is."""
        applies(self.wire, NO_SERVER)
        async with self.far_side(tmp_path):
            assert self.server is not None
            async with self.worker(tmp_path) as worker:
                request = await self.text_request(worker)
                for point in POINTS:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(checkpoints, point, nursery.cancel_scope)
                        await worker.generate(request, Deltas())
                        nursery.cancel_scope.cancel()
                    await self.inject("500")
                    await self.failure(worker, request)
                    await self.inject(None)
                    await self.ask(worker, request)
                promise(self.server.open <= POOL, "no connection is leaked", GENERATE, self.server.open)
            with within(self.seconds, "close() closes the connections", "fairlead._contracts.Worker.close"):
                await self.server.until(lambda: self.server is not None and not self.server.open)

    async def test_closed_worker_is_opened_again_as_new(self, tmp_path: Path) -> None:
        """Another worker of the same settings answers after the first one was closed."""
        async with self.far_side(tmp_path):
            for _ in range(2):
                async with self.worker(tmp_path) as worker:
                    await self.ask(worker, await self.text_request(worker))

    async def test_request_beside_a_stalled_one_is_answered(self, tmp_path: Path) -> None:
        """One that waits holds up nobody else."""
        applies(self.wire, NO_SERVER)
        async with self.saying(tmp_path, lambda _: ModelReply(("first", "second"))) as worker:
            assert self.server is not None
            request = await self.text_request(worker)
            began = trio.Event()

            async def begin(_: Delta) -> None:
                began.set()
                await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                gate = self.server.gate = trio.Event()
                nursery.start_soon(worker.generate, request, begin)
                with within(self.seconds, "a piece comes before the next one is said", GENERATE):
                    await began.wait()
                self.server.gate = None
                await self.ask(worker, evolve(request, session="another"))
                gate.set()


async def _cancel(scope: trio.CancelScope) -> None:
    scope.cancel()
    await trio.lowlevel.checkpoint()
