"""The promises of a provider."""

from __future__ import annotations

from pathlib import Path

import trio
from attrs import evolve

from fairlead._contracts import Provider
from fairlead._events import ModelAnswered
from fairlead._message import Message, Text, ToolResult, text_of
from fairlead._schemas import build_validator, fault
from fairlead._work import Delta, ModelAnswer, ModelRequest, ToolSpec
from fairlead.errors import ProviderError
from fairlead.testing._fakes import Deltas
from fairlead.testing._worker_kit import HOSTILE_TEXTS, WorkerConformance, is_amount, promise, same, within, writable

__all__ = ["ProviderConformance"]

GENERATE, ANSWER = "fairlead.Provider.generate", "fairlead.ModelAnswer"

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


class ProviderConformance(WorkerConformance[Provider]):
    """Subclass it, override `make_worker`, and `far_side` with a fake server where there is one."""

    model = ""
    """The model to ask; empty for the first that models() lists."""

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

    async def ask(self, worker: Provider, request: ModelRequest) -> ModelAnswer:
        """A whole answer whose text was streamed as it is."""
        deltas = Deltas()
        answer = await worker.generate(request, deltas)
        promise(isinstance(answer, ModelAnswer), "generate() gives a ModelAnswer", GENERATE, answer)
        said = Message("assistant", answer.parts, calls=answer.calls)
        writable(ModelAnswered(turn="t", message=said, provider="kit", model=answer.model, usage=answer.usage))
        promise(answer.parts or answer.calls, "an answer has words or calls", GENERATE, answer)
        same(text_of(answer.parts), deltas.text, "the deltas, joined, are the text of the answer", ANSWER)
        promise(all(delta.text for delta in deltas.all), "no piece is empty", "fairlead.Delta", deltas.all)
        return answer

    async def test_models_are_listed(self, tmp_path: Path) -> None:
        """Names are unique, windows and prices are amounts or unknown."""
        source = "fairlead.Provider.models"
        async with self.opened(tmp_path) as worker:
            models = await worker.models()
        names = [model.name for model in models]
        promise(all(names) and len(names) == len(set(names)) > 0, "each model has a name of its own", source, names)
        for model in models:
            figures = (model.window, model.max_output, model.input_price, model.output_price)
            promise(all(map(is_amount, figures)), "figures are amounts or None", "fairlead.ModelInfo", model)

    async def test_answer_is_whole(self, tmp_path: Path) -> None:
        """Words, streamed as they are kept; a finish that fits; and the tokens, which budgets count."""
        async with self.opened(tmp_path) as worker:
            answer = await self.ask(worker, await self.text_request(worker))
        usage = answer.usage
        promise(answer.finish != "tools", "finish is 'tools' only with calls", ANSWER, answer)
        promise(usage.input_tokens > 0 < usage.output_tokens, "tokens are reported", "fairlead.Usage", usage)
        promise(0 <= usage.cached_tokens <= usage.input_tokens, "cached is a part of input", "fairlead.Usage", usage)
        promise(is_amount(usage.cost), "the cost is an amount or None", "fairlead.Usage", usage)

    async def test_tool_call_goes_round(self, tmp_path: Path) -> None:
        """A call arrives with an id and arguments of the schema, and its result goes back with the history."""
        async with self.opened(tmp_path) as worker:
            request = await self.tool_request(worker)
            answer = await self.ask(worker, request)
            promise(answer.calls, "a model may call the tools that it is given", GENERATE, answer)
            same("tools", answer.finish, "finish is 'tools' with calls", ANSWER)
            ids = [call.id for call in answer.calls]
            promise(all(ids) and len(set(ids)) == len(ids), "calls have ids", "fairlead.ToolCall", ids)
            specs = {spec.name: build_validator(spec.parameters) for spec in request.tools}
            for call in answer.calls:
                promise(call.tool in specs, "it calls what it was given", GENERATE, call)
                wrong = fault(specs[call.tool], call.arguments)
                promise(wrong is None, "arguments are the decoded object", "fairlead.ToolCall", (call, wrong))
            results = (ToolResult(call.id, call.tool, (Text("5"),)) for call in answer.calls)
            said = Message("assistant", answer.parts, calls=answer.calls)
            await self.ask(worker, evolve(request, history=(*request.history, said, *results)))

    async def test_cancelled_request_lets_go_at_once(self, tmp_path: Path) -> None:
        """Cancelled at the first piece, it emits nothing more, and the next request works."""
        async with self.opened(tmp_path) as worker:
            seen: list[Delta] = []
            scope = trio.CancelScope()

            async def cancel_at_first(delta: Delta) -> None:
                seen.append(delta)
                scope.cancel()
                await trio.lowlevel.checkpoint()

            request = await self.text_request(worker)
            with within(1, "a cancelled request lets go at once", GENERATE), scope:
                await worker.generate(request, cancel_at_first)
            promise(len(seen) == 1, "cancelled means that nothing more is emitted", GENERATE, seen)
            await self.ask(worker, await self.text_request(worker))

    async def test_failures_are_provider_errors(self, tmp_path: Path) -> None:
        """The core decides by the class of the error whether another try, model or credential can help."""
        async with self.opened(tmp_path) as worker:
            request = await self.failing_request(worker)
            seen: object
            try:
                seen = await worker.generate(request, Deltas())
            except Exception as error:  # noqa: BLE001  # whatever it is, it is what the check looks at
                seen = error
        right = isinstance(seen, ProviderError) and type(seen) is not ProviderError
        promise(right, "what fails raises the ProviderError that fits", "fairlead.errors", seen)

    async def test_requests_at_once_do_not_mix(self, tmp_path: Path) -> None:
        """A worker is called from several tasks at a time; any Unicode text is a valid message."""
        async with self.opened(tmp_path) as worker, trio.open_nursery() as nursery:
            for text in HOSTILE_TEXTS:
                nursery.start_soon(self.ask, worker, await self.text_request(worker, text))
