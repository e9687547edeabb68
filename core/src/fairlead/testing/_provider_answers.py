"""The promises about models and answers: what is listed, what is said, what it cost."""

from __future__ import annotations

import json
from pathlib import Path

import trio
from attrs import evolve

from fairlead._message import text_of
from fairlead._schemas import build_validator, fault
from fairlead.testing._provider_base import ANSWER, DELTA, GENERATE, REQUEST, USAGE, ProviderKit
from fairlead.testing._provider_wire import ModelReply
from fairlead.testing._worker_kit import HOSTILE_TEXTS, is_amount, promise, same, within

__all__ = ["ProviderAnswers"]

MODELS, INFO = "fairlead.Provider.models", "fairlead.ModelInfo"
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


class ProviderAnswers(ProviderKit):
    """Models, words, usage."""

    async def test_models_are_listed(self, tmp_path: Path) -> None:
        """Each model has a name of its own."""
        async with self.opened(tmp_path) as worker:
            with within(self.seconds, "models() answers", MODELS):
                models = await worker.models()
        names = [model.name for model in models]
        promise(all(names) and len(names) == len(set(names)) > 0, "each model has a name of its own", MODELS, names)

    async def test_figures_of_models_are_amounts(self, tmp_path: Path) -> None:
        """Windows and prices are finite and not negative, or unknown; an answer fits into its window."""
        async with self.opened(tmp_path) as worker:
            models = await worker.models()
        for model in models:
            figures = (model.window, model.max_output, model.input_price, model.output_price)
            promise(all(map(is_amount, figures)), "figures are amounts or None", INFO, model)
            fits = model.window is None or model.max_output is None or model.max_output <= model.window
            promise(fits, "the window holds the longest answer", INFO, model)
            promise(model.window != 0 and model.max_output != 0, "what is unknown is None and not 0", INFO, model)

    async def test_models_stay_the_same(self, tmp_path: Path) -> None:
        """Asked again, and by several tasks at once."""
        async with self.opened(tmp_path) as worker:
            first = list(await worker.models())
            found: list[object] = []

            async def look() -> None:
                found.append(list(await worker.models()))

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(look)
        same([first] * 5, found, "models() gives the same each time", MODELS)

    async def test_answer_is_whole(self, tmp_path: Path) -> None:
        """There are words or calls, and the journal can write them."""
        async with self.opened(tmp_path) as worker:
            answer = await self.ask(worker, await self.text_request(worker))
        promise(text_of(answer.parts).strip(), "a question in words is answered with words", GENERATE, answer)

    async def test_streamed_words_are_the_answer(self, tmp_path: Path) -> None:
        """The pieces of kind text, joined, are the text of the answer."""
        async with self.opened(tmp_path) as worker:
            answer, deltas = await self.listen(worker, await self.text_request(worker))
        same(text_of(answer.parts), deltas.text, "the deltas, joined, are the text of the answer", ANSWER)

    async def test_no_piece_is_empty(self, tmp_path: Path) -> None:
        """Each piece has text, and one of the two kinds."""
        async with self.opened(tmp_path) as worker:
            _, deltas = await self.listen(worker, await self.text_request(worker))
        promise(all(delta.text for delta in deltas.all), "no piece is empty", DELTA, deltas.all)
        kinds = {delta.kind for delta in deltas.all}
        promise(kinds <= {"text", "reasoning"}, "a piece is text or reasoning", DELTA, kinds)

    async def test_same_question_is_answered_alike_streamed_or_not(self, tmp_path: Path) -> None:
        """A reader that is slow to take the pieces and one that ignores them get the same answer."""

        async def ignore(_: object) -> None:
            pass

        async with self.opened(tmp_path) as worker:
            request = await self.text_request(worker)
            first = await self.ask(worker, request)
            second = await worker.generate(request, ignore)
            third, deltas = await self.listen(worker, request)
        kinds = [(type(each), each.finish, bool(each.parts)) for each in (first, second, third)]
        promise(len(set(kinds)) == 1, "streaming changes nothing about the answer", ANSWER, kinds)
        same(text_of(third.parts), deltas.text, "the deltas, joined, are the text of the answer", ANSWER)

    async def test_finish_says_stop(self, tmp_path: Path) -> None:
        """An answer without calls did not finish with tools."""
        async with self.opened(tmp_path) as worker:
            answer = await self.ask(worker, await self.text_request(worker))
        same((), answer.calls, "where no tool is offered none is called", REQUEST)
        same("stop", answer.finish, "finish is 'tools' only with calls", ANSWER)

    async def test_tokens_are_reported(self, tmp_path: Path) -> None:
        """Budgets count them."""
        async with self.opened(tmp_path) as worker:
            usage = (await self.ask(worker, await self.text_request(worker))).usage
        promise(usage.input_tokens > 0 < usage.output_tokens, "tokens are reported", USAGE, usage)
        kinds = {type(usage.input_tokens), type(usage.output_tokens), type(usage.cached_tokens)}
        same({int}, kinds, "tokens are counted in whole numbers", USAGE)

    async def test_cached_tokens_are_a_part_of_the_input(self, tmp_path: Path) -> None:
        """They are counted in `input_tokens` too."""
        async with self.opened(tmp_path) as worker:
            usage = (await self.ask(worker, await self.text_request(worker))).usage
        promise(0 <= usage.cached_tokens <= usage.input_tokens, "cached is a part of input", USAGE, usage)

    async def test_cost_is_an_amount(self, tmp_path: Path) -> None:
        """US dollars, or None where no price is known."""
        async with self.opened(tmp_path) as worker:
            usage = (await self.ask(worker, await self.text_request(worker))).usage
        promise(is_amount(usage.cost), "the cost is an amount or None", USAGE, usage)

    async def test_usage_is_what_the_server_counts(self, tmp_path: Path) -> None:
        """Input with what was cached of it, and output; each answer has its own."""
        reply = ModelReply(("counted",), input_tokens=321, cached_tokens=123, output_tokens=45)
        async with self.saying(tmp_path, lambda _: reply) as worker:
            request = await self.text_request(worker)
            found = [(await self.ask(worker, request)).usage for _ in range(2)]
        counts = [(usage.input_tokens, usage.cached_tokens, usage.output_tokens) for usage in found]
        same([(321, 123, 45)] * 2, counts, "usage is what the server counts", USAGE)

    async def test_answer_names_its_model(self, tmp_path: Path) -> None:
        """`model` is what the server says answered, so that the journal knows."""
        async with self.saying(tmp_path, lambda _: ModelReply(("hello",))) as worker:
            answer = await self.ask(worker, await self.text_request(worker))
        promise(answer.model, "an answer names the model", ANSWER, answer)

    async def test_answer_that_was_cut_says_so(self, tmp_path: Path) -> None:
        """`finish` is ``length`` where the limit of tokens ended it."""
        async with self.saying(tmp_path, lambda _: ModelReply(("half a",), cut=True)) as worker:
            answer = await self.ask(worker, await self.text_request(worker))
        same("length", answer.finish, "finish is 'length' where the limit ended it", ANSWER)

    async def test_limit_of_tokens_is_taken(self, tmp_path: Path) -> None:
        """With a small `max_output_tokens` there is an answer, whole or cut."""
        async with self.opened(tmp_path) as worker:
            request = evolve(await self.text_request(worker), max_output_tokens=64)
            answer = await self.ask(worker, request)
        promise(answer.finish in ("stop", "length"), "a limit of tokens cuts and nothing else", REQUEST, answer)

    async def test_structured_answer_is_one_json_value(self, tmp_path: Path) -> None:
        """With `output_schema` the words are one JSON value of that schema."""
        async with self.saying(tmp_path, lambda _: ModelReply(('{"city": ', '"Oslo"}'))) as worker:
            request = evolve(await self.text_request(worker, "Which city? Answer in JSON."), output_schema=CITY)
            answer = await self.ask(worker, request)
        try:
            wrong = fault(build_validator(CITY), json.loads(text_of(answer.parts)))
        except ValueError as error:
            wrong = ("", str(error))
        promise(wrong is None, "the answer is one JSON value of the schema", REQUEST, (answer, wrong))

    async def test_hostile_words_of_the_model_arrive_unchanged(self, tmp_path: Path) -> None:
        """All of Unicode, markup, line ends, and what looks like the protocol."""
        texts = (*HOSTILE_TEXTS, "data: [DONE]\n\nevent: error\ndata: {}\n\n", "\ttab\r\nreturn\u2028separator\u0085")
        for text in texts:
            async with self.saying(tmp_path, lambda _, text=text: ModelReply((text[:5], text[5:]))) as worker:  # type: ignore[misc]  # mypy cannot infer a default of a lambda
                answer = await self.ask(worker, await self.text_request(worker))
            same(text, text_of(answer.parts), "the words of the model arrive unchanged", ANSWER)

    async def test_long_answer_is_kept_whole(self, tmp_path: Path) -> None:
        """A thousand pieces."""
        pieces = tuple(f"word-{number} " for number in range(1000))
        async with self.saying(tmp_path, lambda _: ModelReply(pieces)) as worker:
            answer = await self.ask(worker, await self.text_request(worker))
        same("".join(pieces).strip(), text_of(answer.parts).strip(), "a long answer is kept whole", ANSWER)
