"""What the checks of a provider share: its hooks, one request, and the far side that breaks on purpose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import evolve

from fairlead._contracts import Provider
from fairlead._events import ModelAnswered
from fairlead._message import Message, Text, ToolResult, text_of
from fairlead._work import Delta, ModelAnswer, ModelRequest, ToolSpec
from fairlead.errors import ProviderError
from fairlead.testing._applies import applies
from fairlead.testing._fakes import Deltas
from fairlead.testing._provider_server import ModelServer
from fairlead.testing._provider_wire import Fault, ModelAsked, ModelReply, ModelWire
from fairlead.testing._worker_kit import WorkerConformance, promise, same, within, writable

__all__ = ["ADD", "ANSWER", "CALL", "DELTA", "ERRORS", "GENERATE", "REQUEST", "USAGE", "ProviderKit"]

GENERATE, ANSWER, REQUEST = "fairlead.Provider.generate", "fairlead.ModelAnswer", "fairlead.ModelRequest"
DELTA, USAGE, CALL, ERRORS = "fairlead.Delta", "fairlead.Usage", "fairlead.ToolCall", "fairlead.errors"

ADD = ToolSpec(
    "add",
    "Adds two numbers.",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
    "read",
    "host",
)
NO_SERVER = "no far side of the kit's: set `wire`, or override inject() and say()"
Emitting = Callable[[Delta], object]


class ProviderKit(WorkerConformance[Provider]):
    """The hooks. Subclass `ProviderConformance`, which has the checks."""

    model = ""
    """The model to ask; empty for the first that models() lists."""
    wire: ModelWire | None = None
    """How the server speaks: with it `far_side` starts a `ModelServer`, which is `self.server`."""
    secret = ""
    """The credential that make_worker gives the worker; empty where it has none. It must appear nowhere."""
    patience = 5.0
    """Seconds after which the worker gives up a stream that stalls: make_worker sets its time-out so, or lower."""
    seconds = 10.0
    """For what should take an instant, on a busy machine."""
    stop_seconds = 1.0
    """For a request that was cancelled to let go: at once, on a busy machine."""
    server: ModelServer | None = None

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        """The server of `wire`, where there is one."""
        if self.wire is None:
            yield
            return
        async with ModelServer.running(self.wire) as self.server:
            yield

    async def text_request(self, worker: Provider, text: str = "Say hello.") -> ModelRequest:
        """Override where needed: a request that is answered with words."""
        model = self.model or (await worker.models())[0].name
        return ModelRequest(model, (Message("user", (Text(text),)),), "Be brief.", session=worker.name)

    async def tool_request(self, worker: Provider) -> ModelRequest:
        """Override where needed: a request that is answered with a call of the tool ``add`` (integers a and b)."""
        return evolve(await self.text_request(worker, "What is 2 + 3? Use add."), tools=(ADD,))

    async def failing_request(self, worker: Provider) -> ModelRequest:
        """Override where needed: a request that fails at the far side. As it is: a model that nobody has."""
        return evolve(await self.text_request(worker), model="no-such-model-in-the-world")

    async def inject(self, fault: Fault | None) -> bool:
        """Override where the far side is your own: every request meets `fault` from now on; None: all is well again.

        False: this far side cannot do it, and the check does not apply.
        """
        if self.server is None:
            return False
        await self.server.set_fault(fault)
        return True

    async def say(self, reply: Callable[[ModelAsked], ModelReply | Fault]) -> bool:
        """Override where the far side is your own: the model says this from now on. False: it cannot."""
        if self.server is None:
            return False
        self.server.replies = reply
        return True

    async def heard(self) -> ModelAsked | None:
        """Override where the far side is your own: the last request, as it understood it; None: it cannot tell."""
        return self.server.requests[-1] if self.server is not None and self.server.requests else None

    # -- for the checks

    async def ask(self, worker: Provider, request: ModelRequest) -> ModelAnswer:
        """A whole answer whose text was streamed as it is."""
        answer, deltas = await self.listen(worker, request)
        promise(answer.parts or answer.calls, "an answer has words or calls", GENERATE, answer)
        same(text_of(answer.parts), deltas.text, "the deltas, joined, are the text of the answer", ANSWER)
        return answer

    async def listen(self, worker: Provider, request: ModelRequest) -> tuple[ModelAnswer, Deltas]:
        """An answer, however it is, and its pieces."""
        deltas = Deltas()
        with within(self.seconds, "a request is answered", GENERATE):
            answer = await worker.generate(request, deltas)
        promise(isinstance(answer, ModelAnswer), "generate() gives a ModelAnswer", GENERATE, answer)
        said = Message("assistant", answer.parts, calls=answer.calls)
        writable(ModelAnswered(turn="t", message=said, provider="kit", model=answer.model, usage=answer.usage))
        return answer, deltas

    async def failure(self, worker: Provider, request: ModelRequest, seconds: float | None = None) -> object:
        """The error of a request that fails, or the answer of one that does not."""
        with within(seconds or self.seconds, "a request that fails ends", GENERATE):
            try:
                return await worker.generate(request, Deltas())
            except Exception as error:  # noqa: BLE001  # whatever it is, it is what the check looks at
                return error

    async def faulty(self, tmp_path: Path, fault: Fault, seconds: float | None = None) -> tuple[object, ModelAnswer]:
        """What a request gives that meets a fault, and the answer of the next one, when all is well again."""
        able = False
        found: list[tuple[object, ModelAnswer]] = []
        async with self.opened(tmp_path) as worker:
            request = evolve(
                await self.text_request(worker), tools=(ADD,) if fault in ("invalid arguments", "unknown tool") else ()
            )
            able = await self.inject(fault)
            if able:
                seen = await self.failure(worker, request, seconds)
                await self.inject(None)
                found.append((seen, await self.ask(worker, await self.text_request(worker))))
        applies(able, NO_SERVER)
        return found[0]

    async def typed(self, tmp_path: Path, fault: Fault, *kinds: type[ProviderError]) -> ProviderError:
        """The error of a fault, of one of these classes."""
        seen, _ = await self.faulty(tmp_path, fault, self.patience + self.seconds)
        names = " or ".join(kind.__name__ for kind in kinds)
        promise(type(seen) in kinds, f"{fault!r} at the far side raises {names}", ERRORS, seen)
        assert isinstance(seen, ProviderError)
        return seen

    @asynccontextmanager
    async def saying(
        self, tmp_path: Path, reply: Callable[[ModelAsked], ModelReply | Fault]
    ) -> AsyncIterator[Provider]:
        """A worker whose model says this. Left at once, with the reason, where the far side cannot."""
        async with self.far_side(tmp_path):
            able = await self.say(reply)
            if able:
                async with self.worker(tmp_path) as worker:
                    yield worker
        applies(able, NO_SERVER)

    async def sent(self, tmp_path: Path, change: Callable[[ModelRequest], ModelRequest]) -> ModelAsked:
        """What the far side understood of a request."""
        asked: ModelAsked | None = None
        async with self.opened(tmp_path) as worker:
            request = change(await self.text_request(worker))
            await self.listen(worker, request)
            asked = await self.heard()
        applies(asked is not None, "the far side cannot tell what it was asked: set `wire`, or override heard()")
        assert asked is not None
        return asked


def told(*messages: Message | ToolResult) -> Callable[[ModelRequest], ModelRequest]:
    """The same request, with this history."""
    return lambda request: evolve(request, history=messages)


def words(text: str) -> Message:
    """Somebody says this."""
    return Message("user", (Text(text),))


async def checkpoints(count: int, scope: trio.CancelScope) -> None:
    """Cancel a scope after so many passes of the scheduler: the same place each time on a quiet machine."""
    for _ in range(count):
        await trio.lowlevel.checkpoint()
    scope.cancel()
