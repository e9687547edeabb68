"""The promises about calls of tools."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from fairlead._message import Message, Text, ToolCall, ToolResult, text_of
from fairlead._schemas import build_validator, fault
from fairlead._work import ModelAnswer, ModelRequest
from fairlead.errors import ProviderError
from fairlead.testing._applies import applies
from fairlead.testing._provider_base import ADD, ANSWER, CALL, GENERATE, NO_SERVER, REQUEST, ProviderKit
from fairlead.testing._provider_wire import ModelAsked, ModelReply
from fairlead.testing._worker_kit import HOSTILE_TEXTS, promise, same

__all__ = ["ProviderTools"]

SEVERAL = tuple(ToolCall(f"call_{number}", "add", {"a": number, "b": 1}) for number in range(5))


def next_request(request: ModelRequest, answer: ModelAnswer, said: str = "5", error: str = "") -> ModelRequest:
    """The request that follows an answer with calls: with a result for each."""
    results = (ToolResult(call.id, call.tool, (Text(said),), error) for call in answer.calls)
    message = Message("assistant", answer.parts, calls=answer.calls)
    return evolve(request, history=(*request.history, message, *results))


class ProviderTools(ProviderKit):
    """Calls and their results."""

    async def test_tool_is_called(self, tmp_path: Path) -> None:
        """A model may call the tools that it is given, and nothing else."""
        async with self.opened(tmp_path) as worker:
            request = await self.tool_request(worker)
            answer = await self.ask(worker, request)
        promise(answer.calls, "a model may call the tools that it is given", GENERATE, answer)
        names = {spec.name for spec in request.tools}
        promise({call.tool for call in answer.calls} <= names, "it calls what it was given", GENERATE, answer)

    async def test_arguments_are_the_decoded_object(self, tmp_path: Path) -> None:
        """They match the schema of the tool."""
        async with self.opened(tmp_path) as worker:
            request = await self.tool_request(worker)
            answer = await self.ask(worker, request)
        schemas = {spec.name: build_validator(spec.parameters) for spec in request.tools}
        for call in answer.calls:
            wrong = fault(schemas[call.tool], call.arguments) if call.tool in schemas else ("", "no such tool")
            promise(wrong is None, "arguments are the decoded object", CALL, (call, wrong))

    async def test_calls_have_ids_of_their_own(self, tmp_path: Path) -> None:
        """No id is empty, and none comes twice in an answer."""
        async with self.opened(tmp_path) as worker:
            answer = await self.ask(worker, await self.tool_request(worker))
        ids = [call.id for call in answer.calls]
        promise(all(ids) and len(set(ids)) == len(ids), "calls have ids", CALL, ids)

    async def test_finish_says_tools(self, tmp_path: Path) -> None:
        """An answer with calls waits for their results."""
        async with self.opened(tmp_path) as worker:
            answer = await self.ask(worker, await self.tool_request(worker))
        promise(answer.calls, "a model may call the tools that it is given", GENERATE, answer)
        same("tools", answer.finish, "finish is 'tools' with calls", ANSWER)

    async def test_result_goes_back(self, tmp_path: Path) -> None:
        """The next request has the calls and their results in its history."""
        async with self.opened(tmp_path) as worker:
            request = await self.tool_request(worker)
            answer = await self.ask(worker, request)
            await self.ask(worker, next_request(request, answer))

    async def test_result_reaches_the_model(self, tmp_path: Path) -> None:
        """Its words, unchanged, whatever they are."""
        for text in HOSTILE_TEXTS:
            asked: ModelAsked | None = None
            async with self.opened(tmp_path) as worker:
                request = await self.tool_request(worker)
                answer = await self.ask(worker, request)
                await self.listen(worker, next_request(request, answer, text))
                asked = await self.heard()
            applies(asked is not None, NO_SERVER)
            promise(asked and asked.results == len(answer.calls), "each result is sent", REQUEST, asked)
            promise(asked and text in asked.texts, "the words of a result reach the model", REQUEST, (text, asked))

    async def test_result_of_a_failure_goes_back(self, tmp_path: Path) -> None:
        """The model is told why, and answers."""
        async with self.opened(tmp_path) as worker:
            request = await self.tool_request(worker)
            answer = await self.ask(worker, request)
            await self.ask(worker, next_request(request, answer, "failed: no such number", "failed"))

    async def test_result_without_words_goes_back(self, tmp_path: Path) -> None:
        """Some tools have nothing to say."""
        async with self.opened(tmp_path) as worker:
            request = await self.tool_request(worker)
            answer = await self.ask(worker, request)
            await self.ask(worker, next_request(request, answer, ""))

    async def test_several_calls_come_in_one_answer(self, tmp_path: Path) -> None:
        """In their order, each with its own id and arguments, however their pieces were mixed."""
        async with self.saying(tmp_path, lambda _: ModelReply(calls=SEVERAL)) as worker:
            answer = await self.ask(worker, await self.tool_request(worker))
        ids = [call.id for call in answer.calls]
        promise(all(ids) and len(set(ids)) == len(SEVERAL), "calls have ids", CALL, ids)
        expected = [(call.tool, call.arguments) for call in SEVERAL]
        same(expected, [(call.tool, call.arguments) for call in answer.calls], "no call is lost or mixed", CALL)

    async def test_results_of_several_calls_go_back(self, tmp_path: Path) -> None:
        """All of them, in one request."""

        def reply(asked: ModelAsked) -> ModelReply:
            return ModelReply(("done",)) if asked.results else ModelReply(calls=SEVERAL)

        seen: ModelAsked | None = None
        async with self.saying(tmp_path, reply) as worker:
            request = await self.tool_request(worker)
            await self.ask(worker, next_request(request, await self.ask(worker, request)))
            seen = await self.heard()
        promise(seen is None or seen.results == len(SEVERAL), "each result is sent", REQUEST, seen)

    async def test_words_beside_calls_are_kept(self, tmp_path: Path) -> None:
        """What a model says before it calls is a part of its answer."""
        async with self.saying(tmp_path, lambda _: ModelReply(("let me ", "see"), SEVERAL[:1])) as worker:
            answer = await self.ask(worker, await self.tool_request(worker))
        same("let me see", text_of(answer.parts), "words beside calls are kept", ANSWER)
        same(1, len(answer.calls), "no call is lost or mixed", CALL)

    async def test_hostile_arguments_arrive_unchanged(self, tmp_path: Path) -> None:
        """All of Unicode, deep values, large numbers, an empty object."""
        deep: object = "bottom"
        for _ in range(30):
            deep = [deep]
        values: tuple[dict[str, object], ...] = (
            {text: text for text in HOSTILE_TEXTS},
            {"n": [0, -1, 2**53, 1.5e-7, None, True]},
            {"d": deep},
            {},
        )
        for value in values:
            call = ToolCall("call_1", "add", value)
            async with self.saying(tmp_path, lambda _, call=call: ModelReply(calls=(call,))) as worker:  # type: ignore[misc]  # mypy cannot infer a default of a lambda
                answer = await self.ask(worker, await self.tool_request(worker))
            same([value], [call.arguments for call in answer.calls], "arguments arrive unchanged", CALL)

    async def test_arguments_that_are_no_json_come_as_they_are(self, tmp_path: Path) -> None:
        """The core shows them back to the model; the answer is no failure."""
        seen, _ = await self.faulty(tmp_path, "invalid arguments")
        promise(isinstance(seen, ModelAnswer), "broken arguments are an answer and no failure", CALL, seen)
        assert isinstance(seen, ModelAnswer)
        raw = [call.arguments for call in seen.calls]
        same(['{"a": 2, "b"'], raw, "arguments that are no JSON object come as their raw text", CALL)

    async def test_broken_arguments_can_stand_in_a_history(self, tmp_path: Path) -> None:
        """The next request shows the model what it sent, and why that was refused."""
        async with self.opened(tmp_path) as worker:
            request = await self.tool_request(worker)
            broken = ModelAnswer(calls=(ToolCall("call_9", "add", '{"a": 2, "b"'),), finish="tools")
            await self.ask(worker, next_request(request, broken, "not valid: no JSON object", "invalid"))

    async def test_call_of_an_unknown_tool_is_passed_on(self, tmp_path: Path) -> None:
        """The core denies it; the provider neither drops it nor fails."""
        seen, _ = await self.faulty(tmp_path, "unknown tool")
        promise(isinstance(seen, ModelAnswer), "a call of an unknown tool is an answer", CALL, seen)
        assert isinstance(seen, ModelAnswer)
        calls = [(call.tool, call.arguments) for call in seen.calls]
        same([("no_such_tool", {"x": 1})], calls, "a call of an unknown tool is passed on", CALL)

    async def test_empty_answer_is_empty_or_a_failure(self, tmp_path: Path) -> None:
        """Nothing is made up, and nothing but a `ProviderError` is raised."""
        seen, _ = await self.faulty(tmp_path, "empty answer")
        empty = isinstance(seen, ModelAnswer) and not text_of(seen.parts) and not seen.calls
        promise(empty or isinstance(seen, ProviderError), "an empty answer is empty, or fails", GENERATE, seen)

    async def test_tools_are_offered(self, tmp_path: Path) -> None:
        """By their names, all of them, and none where there is none."""
        more = tuple(evolve(ADD, name=f"add_{number}-X") for number in range(20))
        asked = await self.sent(tmp_path, lambda request: evolve(request, tools=more))
        same({spec.name for spec in more}, set(asked.tools), "every tool is offered", REQUEST)
        asked = await self.sent(tmp_path, lambda request: request)
        same((), asked.tools, "no tool is offered where there is none", REQUEST)
