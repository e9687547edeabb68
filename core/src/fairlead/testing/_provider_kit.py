"""The promises of a provider."""

from __future__ import annotations

from pathlib import Path

import trio

from fairlead._contracts import Provider
from fairlead._message import Message, Text, ToolResult
from fairlead._schemas import build_validator, fault
from fairlead._work import Delta, ModelAnswer, ModelRequest, ToolSpec
from fairlead.errors import ProviderError
from fairlead.testing._fakes import Deltas
from fairlead.testing._worker_kit import HOSTILE_TEXTS, WorkerConformance, is_amount, promise, within

__all__ = ["ProviderConformance"]

GENERATE = "fairlead.Provider.generate"

ADD = ToolSpec(
    "add",
    "Adds two numbers.",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
    effect="read",
    isolation="host",
)


class ProviderConformance(WorkerConformance[Provider]):
    """Subclass it, override `make_worker`, and `far_side` with a fake server where there is one.

    The requests are made by `text_request`, `tool_request` and `failing_request`: override them where your far side
    must be told what to answer.
    """

    model = ""
    """The model to ask; empty for the first that models() lists."""

    async def text_request(self, worker: Provider, text: str = "Say hello.") -> ModelRequest:
        """Override where needed: a request that is answered with words."""
        return self.request(worker.name, await self.asked_model(worker), text)

    async def tool_request(self, worker: Provider) -> ModelRequest:
        """Override where needed: a request that is answered with a call of the tool ``add`` (integers a and b)."""
        return self.request(worker.name, await self.asked_model(worker), "What is 2 + 3? Use add.", tools=(ADD,))

    async def failing_request(self, worker: Provider) -> ModelRequest:
        """Override where needed: a request that fails at the far side. As it is: a model that nobody has."""
        return self.request(worker.name, "no-such-model-in-the-world", "Say hello.")

    async def asked_model(self, worker: Provider) -> str:
        return self.model or (await worker.models())[0].name

    @staticmethod
    def request(session: str, model: str, text: str, tools: tuple[ToolSpec, ...] = ()) -> ModelRequest:
        return ModelRequest(model, (Message("user", (Text(text),)),), "Be brief.", tools, session)

    async def test_models_are_listed(self, tmp_path: Path) -> None:
        """Names are unique, windows and prices are amounts or unknown."""
        source = "fairlead.Provider.models"
        async with self.opened(tmp_path) as worker:
            models = await worker.models()
        names = [model.name for model in models]
        promise(names, "a provider lists its models", source=source, seen=models)
        promise(all(names) and len(set(names)) == len(names), "each has a name of its own", source=source, seen=names)
        for model in models:
            figures = (model.window, model.max_output, model.input_price, model.output_price)
            promise(
                all(map(is_amount, figures)), "figures are amounts or None", source="fairlead.ModelInfo", seen=model
            )

    async def test_text_of_the_answer_is_its_deltas_joined(self, tmp_path: Path) -> None:
        """What was streamed and what is kept are the same words."""
        async with self.opened(tmp_path) as worker:
            deltas = Deltas()
            answer = await worker.generate(await self.text_request(worker), deltas)
        promise(isinstance(answer, ModelAnswer), "generate() gives a ModelAnswer", source=GENERATE, seen=answer)
        promise(answer.parts or answer.calls, "an answer has words or calls", source=GENERATE, seen=answer)
        self.same_text(answer, deltas)
        promise(all(delta.text for delta in deltas.all), "no piece is empty", source="fairlead.Delta", seen=deltas.all)

    async def test_usage_is_present(self, tmp_path: Path) -> None:
        """Budgets count what the provider reports."""
        async with self.opened(tmp_path) as worker:
            usage = (await worker.generate(await self.text_request(worker), Deltas())).usage
        source = "fairlead.Usage"
        promise(usage.input_tokens > 0 < usage.output_tokens, "an answer reports its tokens", source=source, seen=usage)
        promise(0 <= usage.cached_tokens <= usage.input_tokens, "cached is a part of input", source=source, seen=usage)
        promise(is_amount(usage.cost), "the cost is an amount or None", source=source, seen=usage)

    async def test_finish_fits_the_answer(self, tmp_path: Path) -> None:
        """``tools`` where it calls, another word where it does not."""
        async with self.opened(tmp_path) as worker:
            words = await worker.generate(await self.text_request(worker), Deltas())
            wish = await worker.generate(await self.tool_request(worker), Deltas())
        source = "fairlead.ModelAnswer"
        promise(words.finish != "tools", "finish is 'tools' only with calls", source=source, seen=words)
        promise(wish.finish == "tools", "finish is 'tools' with calls", source=source, seen=wish)

    async def test_tool_call_goes_round(self, tmp_path: Path) -> None:
        """A call arrives with an id and arguments of the schema, and its result goes back with the history."""
        async with self.opened(tmp_path) as worker:
            request = await self.tool_request(worker)
            deltas = Deltas()
            answer = await worker.generate(request, deltas)
            self.same_text(answer, deltas)
            promise(answer.calls, "a model may call the tools that it is given", source=GENERATE, seen=answer)
            ids = [call.id for call in answer.calls]
            promise(all(ids) and len(set(ids)) == len(ids), "calls have ids", source="fairlead.ToolCall", seen=ids)
            specs = {spec.name: build_validator(spec.parameters) for spec in request.tools}
            for call in answer.calls:
                promise(call.tool in specs, "it calls what it was given", source=GENERATE, seen=call)
                wrong = fault(specs[call.tool], call.arguments)
                promise(
                    wrong is None, "arguments are the decoded object", source="fairlead.ToolCall", seen=(call, wrong)
                )
            results = (ToolResult(call.id, call.tool, (Text("5"),)) for call in answer.calls)
            said = Message("assistant", answer.parts, calls=answer.calls)
            history = (*request.history, said, *results)
            again = ModelRequest(request.model, history, request.instructions, request.tools, request.session)
            following = await worker.generate(again, Deltas())
        promise(isinstance(following, ModelAnswer), "results are part of the history", source=GENERATE, seen=following)

    async def test_cancelled_request_lets_go_at_once(self, tmp_path: Path) -> None:
        """Cancelled at the first piece, it is gone in a second, emits nothing more, and the next request works."""
        async with self.opened(tmp_path) as worker:
            seen: list[Delta] = []
            scope = trio.CancelScope()

            async def cancel_at_first(delta: Delta) -> None:
                seen.append(delta)
                scope.cancel()
                await trio.lowlevel.checkpoint()

            request = await self.text_request(worker)
            with within(1, "a cancelled request lets go at once", source=GENERATE), scope:
                await worker.generate(request, cancel_at_first)
            promise(len(seen) == 1, "cancelled means that nothing more is emitted", source=GENERATE, seen=seen)
            deltas = Deltas()
            self.same_text(await worker.generate(await self.text_request(worker), deltas), deltas)

    async def test_failures_are_provider_errors(self, tmp_path: Path) -> None:
        """The core decides by the class of the error whether another try, model or credential can help."""
        async with self.opened(tmp_path) as worker:
            request = await self.failing_request(worker)
            raised: Exception | None = None
            try:
                answer = await worker.generate(request, Deltas())
            except Exception as error:  # noqa: BLE001  # whatever it is, it is what the check looks at
                raised = error
            else:
                promise(False, "what failed is raised, not answered", source=GENERATE, seen=answer)
        promise(isinstance(raised, ProviderError), "a failure is a ProviderError", source=GENERATE, seen=raised)
        promise(type(raised) is not ProviderError, "it is the class that fits", source="fairlead.errors", seen=raised)

    async def test_requests_at_once_do_not_mix(self, tmp_path: Path) -> None:
        """A worker is called from several tasks at a time."""
        async with self.opened(tmp_path) as worker:

            async def ask() -> None:
                deltas = Deltas()
                self.same_text(await worker.generate(await self.text_request(worker), deltas), deltas)

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(ask)

    async def test_hostile_text_is_taken(self, tmp_path: Path) -> None:
        """Any Unicode text is a valid message."""
        async with self.opened(tmp_path) as worker:
            for text in HOSTILE_TEXTS:
                deltas = Deltas()
                self.same_text(await worker.generate(await self.text_request(worker, text), deltas), deltas)

    @staticmethod
    def same_text(answer: ModelAnswer, deltas: Deltas) -> None:
        kept = Message("assistant", answer.parts).text
        words = "the text of the deltas, joined, equals the text of the answer"
        promise(deltas.text == kept, words, source="fairlead.ModelAnswer", seen=(deltas.text, kept))
