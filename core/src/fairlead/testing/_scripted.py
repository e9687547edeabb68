"""A provider that answers from a script: for tests, examples and benchmarks."""

from __future__ import annotations

import inspect
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import trio
from attrs import frozen

from fairlead._contracts import Provider
from fairlead._message import Text, ToolCall, Usage, new_id, text_of
from fairlead._work import Delta, Emit, ModelAnswer, ModelInfo, ModelRequest

__all__ = ["Interrupted", "ScriptEnded", "ScriptedProvider", "calls"]


class ScriptEnded(AssertionError):
    """The model was asked once more than the script has answers.

    The test's fault or the core's; never retried as a `ProviderError` would be.
    """


@frozen
class Interrupted:
    """In a script: this much of the answer is streamed, then the error is raised."""

    text: str
    error: Exception


Stream = Literal["whole", "words"]
Step = str | ModelAnswer | ToolCall | Interrupted | Exception
StepFunction = Callable[[ModelRequest], Step | Awaitable[Step]]

_WORDS = re.compile(r"\s*\S+\s*|\s+")
_USAGE = Usage(input_tokens=10, output_tokens=5)
_KEPT_WHEN_REPEATING = 100


def calls(*wanted: tuple[str, Any], text: str = "") -> ModelAnswer:
    """An answer that calls tools: ``calls(("add", {"a": 1, "b": 2}), ("now", {}))``. Each call gets a fresh id."""
    made = tuple(ToolCall("", tool, arguments) for tool, arguments in wanted)
    return ModelAnswer((Text(text),) if text else (), made, _USAGE, "tools")


@frozen
class _Prepared:
    """One step, worked out before it is asked for."""

    answer: ModelAnswer
    deltas: tuple[Delta, ...]
    numbered: bool
    """Some call has no id yet."""
    error: Exception | None = None


class ScriptedProvider(Provider):
    """Answers from a script, one step for each request, whatever the request says.

    A step is the text of an answer, a whole `ModelAnswer` (see `calls`), a `ToolCall`, an exception to raise (most
    often a `ProviderError`), an `Interrupted` stream, or a function of the request that gives one of these and may be
    async. A function can answer by session or by history where several sessions share one script.
    """

    def __init__(
        self,
        script: Sequence[Step | StepFunction] = (),
        *,
        delay: float = 0.0,
        stream: Stream = "whole",
        repeat: bool = False,
        name: str = "scripted",
        models: Sequence[ModelInfo] = (ModelInfo("script", window=1_000_000, images=True),),
    ) -> None:
        """`delay`: seconds on trio's clock before each answer.

        `stream`: in which pieces it is emitted. `repeat`: begin again at the end, and keep only the last 100 requests.
        """
        self.name = name
        self.requests: deque[ModelRequest] | list[ModelRequest] = deque(maxlen=_KEPT_WHEN_REPEATING) if repeat else []
        """Those that it got, oldest first."""
        self.answered = 0
        """How many requests it has taken up."""
        self._delay, self._stream, self._repeat, self._models = delay, stream, repeat, tuple(models)
        self._steps: list[_Prepared | StepFunction] = []
        self.extend(script)

    def extend(self, script: Sequence[Step | StepFunction]) -> None:
        """Add steps at the end."""
        self._steps.extend(step if callable(step) else self._prepare(step) for step in script)

    async def models(self) -> Sequence[ModelInfo]:
        await trio.lowlevel.checkpoint()
        return self._models

    async def generate(self, request: ModelRequest, emit: Emit) -> ModelAnswer:
        place = self.answered
        self.answered = place + 1
        self.requests.append(request)
        if self._delay:
            await trio.sleep(self._delay)
        else:
            await trio.lowlevel.checkpoint()
        step = self._steps[place] if place < len(self._steps) else self._after_the_end(request, place)
        if not isinstance(step, _Prepared):
            found = step(request)
            step = self._prepare(await found if inspect.isawaitable(found) else found)
        for delta in step.deltas:
            await emit(delta)
        if step.error is not None:
            raise step.error.with_traceback(None)  # raised again and again, it would grow
        return _number(step.answer) if step.numbered else step.answer

    def _after_the_end(self, request: ModelRequest, place: int) -> _Prepared | StepFunction:
        if self._repeat and self._steps:
            return self._steps[place % len(self._steps)]
        last = request.history[-1].text if request.history else ""
        raise ScriptEnded(
            f"provider {self.name!r} was asked {place + 1} times, its script has {len(self._steps)} answers; "
            f"the last thing said was {last[:200]!r}. Give it more answers, or repeat=True"
        )

    def _prepare(self, step: Step) -> _Prepared:
        if isinstance(step, Exception):
            return _Prepared(ModelAnswer(), (), numbered=False, error=step)
        if isinstance(step, Interrupted):
            return _Prepared(ModelAnswer(), self._cut(step.text), numbered=False, error=step.error)
        if isinstance(step, str):
            step = ModelAnswer((Text(step),), usage=_USAGE)
        elif isinstance(step, ToolCall):
            step = ModelAnswer(calls=(step,), usage=_USAGE, finish="tools")
        elif not isinstance(step, ModelAnswer):
            raise TypeError(f"a step of a script is text, ModelAnswer, ToolCall, exception or function, not {step!r}")
        text = text_of(step.parts)
        return _Prepared(step, self._cut(text), numbered=any(not call.id for call in step.calls))

    def _cut(self, text: str) -> tuple[Delta, ...]:
        pieces = [text] if self._stream == "whole" else _WORDS.findall(text)
        return tuple(Delta(piece) for piece in pieces if piece)


def _number(answer: ModelAnswer) -> ModelAnswer:
    """The same answer, each call without an id having a fresh one."""
    made = (call if call.id else ToolCall(f"call_{new_id()}", call.tool, call.arguments) for call in answer.calls)
    return ModelAnswer(answer.parts, tuple(made), answer.usage, answer.finish, answer.model)
