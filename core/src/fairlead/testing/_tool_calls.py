"""The promises of a call: results, progress, time, cancellation, many at once."""

from __future__ import annotations

import copy
from pathlib import Path

import trio

from fairlead._events import NoticeRaised
from fairlead._message import Audio, File, Image, ToolCall, ToolResult, new_id
from fairlead.errors import ToolError
from fairlead.testing._applies import applies
from fairlead.testing._tool_base import CALL, ERROR, RESULT, SPEC, ToolKit, Watched, names_its_call, words_of
from fairlead.testing._worker_kit import HOSTILE_TEXTS, promise, same, within, writable

__all__ = ["ToolCalls"]

CONTEXT, PROGRESS = "fairlead.ToolContext", "fairlead.ToolContext.progress"
POINTS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377)
"""After how many passes of the scheduler a call is cancelled."""
ERRORS = ("", "denied", "invalid", "failed", "timeout", "isolation", "unknown", "skipped", "cancelled")
KEPT_CHARS = 2_000_000
IDS = ("call_", "toolu_01AbC-", "x" * 200, "../../etc/passwd", "caf\u00e9 \U0001f680", "' OR 1=1 --")
MANY = 20


class ToolCalls(ToolKit):
    """One call, and several."""

    async def test_example_succeeds(self, tmp_path: Path) -> None:
        """Each example of each tool."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                for arguments in await self.examples(spec):
                    await self.succeed(tool, spec, arguments)

    async def test_result_says_something(self, tmp_path: Path) -> None:
        """A model that is told nothing calls again."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                result = await self.succeed(tool, spec)
                said = result.strip() if isinstance(result, str) else result.parts
                promise(said, "a result has words or parts", RESULT, (spec.name, result))

    async def test_result_names_its_call(self, tmp_path: Path) -> None:
        """Whatever id the model gave it."""
        async with self.opened(tmp_path) as tool:
            for place, spec in enumerate(tool.specs()):
                for call in (f"{each}{place}" for each in IDS):  # an id belongs to one call of one tool
                    names_its_call(await self.succeed(tool, spec, call=call), call, spec.name)

    async def test_result_has_a_known_error_or_none(self, tmp_path: Path) -> None:
        """The words of `ToolResult.error`, and no others."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                arguments = await self.failing_example(spec)
                results = [await self.succeed(tool, spec)]
                results += [] if arguments is None else [await self.attempt(tool, spec, arguments)]
                errors = {result.error for result in results if isinstance(result, ToolResult)}
                promise(errors <= set(ERRORS), "an error is one of the documented words", RESULT, (spec.name, errors))

    async def test_parts_are_whole(self, tmp_path: Path) -> None:
        """Pictures, recordings and files have bytes or a URL, one of the two, and a media type."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                result = await self.succeed(tool, spec)
                for part in result.parts if isinstance(result, ToolResult) else ():
                    if isinstance(part, Image | Audio | File):
                        one = (part.data is None) != (part.url is None) and "/" in part.media_type
                        promise(one, "a part has bytes or a URL, and a media type", "fairlead.File", (spec.name, part))

    async def test_evidence_comes_from_isolators_alone(self, tmp_path: Path) -> None:
        """A tool in the host has none; one that runs elsewhere names where."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                result = await self.succeed(tool, spec)
                evidence = dict(result.evidence) if isinstance(result, ToolResult) else {}
                level = evidence.get("level", "host")
                same(tool.level, level, "evidence names the place where it runs", "fairlead.ToolResult.evidence")

    async def test_arguments_are_left_alone(self, tmp_path: Path) -> None:
        """The journal has them, and the model sees them again."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                arguments = await self.example(spec)
                given = copy.deepcopy(arguments)
                await self.call(tool, spec, given)
                same(arguments, given, "a tool leaves its arguments alone", CALL)

    async def test_calls_one_after_the_other(self, tmp_path: Path) -> None:
        """The twentieth works as the first one did."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                if spec.effect == "once":
                    continue  # what happened twenty times may be refused with good reason
                for _ in range(MANY):
                    await self.succeed(tool, spec)

    async def test_calls_at_once(self, tmp_path: Path) -> None:
        """Where the spec says ``parallel``: each has its own result."""
        async with self.opened(tmp_path) as tool:
            specs = [spec for spec in tool.specs() if spec.parallel]

            async def once(number: int) -> None:
                spec = specs[number % len(specs)]
                call = f"call-{number}"
                names_its_call(await self.succeed(tool, spec, call=call), call, spec.name)

            async with trio.open_nursery() as nursery:
                for number in range(MANY if specs else 0):
                    nursery.start_soon(once, number)
        applies(specs, "no tool may run beside other calls")

    async def test_two_workers_live_side_by_side(self, tmp_path: Path) -> None:
        """Two tables may name one plugin."""
        async with self.far_side(tmp_path), self.worker(tmp_path) as one, self.worker(tmp_path) as other:
            for tool in (one, other):
                for spec in tool.specs():
                    await self.succeed(tool, spec)

    async def test_call_works_after_a_restart(self, tmp_path: Path) -> None:
        """close() lets go of what it holds; the next worker works."""
        async with self.far_side(tmp_path):
            for _ in range(2):
                async with self.worker(tmp_path) as tool:
                    for spec in tool.specs():
                        await self.succeed(tool, spec)

    async def test_call_ends_in_its_time(self, tmp_path: Path) -> None:
        """Within the timeout of its spec."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                arguments, context = await self.example(spec), await self.context(spec)
                with within(spec.timeout or self.seconds, "a call ends within the timeout of its spec", SPEC):
                    await tool.call(ToolCall(new_id(), spec.name, arguments), context)

    async def test_large_result_is_bounded(self, tmp_path: Path) -> None:
        """The journal keeps 2,000,000 characters; more is lost, and costs memory before that."""
        found = False
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                arguments = await self.large_example(spec)
                if arguments is not None:
                    found = True
                    size = len(words_of(await self.attempt(tool, spec, arguments)))
                    promise(size <= KEPT_CHARS, f"a result has at most {KEPT_CHARS} characters", RESULT, size)
        applies(found, "no tool is known to say much: override large_example()")

    async def test_tool_that_is_immediate_never_waits(self, tmp_path: Path) -> None:
        """The core keeps no clock for it."""
        immediate = False
        async with self.opened(tmp_path) as tool:
            immediate = tool.immediate
            for spec in tool.specs() if immediate else ():
                coroutine = tool.call(ToolCall(new_id(), spec.name, await self.example(spec)), await self.context(spec))
                waits = True
                try:
                    coroutine.send(None)
                except (StopIteration, ToolError):
                    waits = False
                finally:
                    coroutine.close()
                promise(not waits, "a tool that is immediate never awaits", "fairlead.Tool.immediate", spec.name)
        applies(immediate, "the tool does not say that it is immediate")

    # -- its context

    async def test_progress_is_words(self, tmp_path: Path) -> None:
        """What a tool says of itself can be shown."""
        told: list[str] = []

        async def keep(detail: str) -> None:
            await trio.lowlevel.checkpoint()
            told.append(detail)

        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                await self.succeed(tool, spec, context=Watched(await self.context(spec), progress=keep))
        applies(told, "no tool tells of its progress")
        for detail in told:
            promise(str(detail).strip(), "progress is words", PROGRESS, detail)
            writable(NoticeRaised(subject="progress", detail=detail))

    async def test_slow_watcher_delays_and_harms_nothing(self, tmp_path: Path) -> None:
        """Whoever watches may take a while, or fail to be told."""

        async def dawdle(_: str) -> None:
            for _step in range(50):
                await trio.lowlevel.checkpoint()

        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                await self.succeed(tool, spec, context=Watched(await self.context(spec), progress=dawdle))

    async def test_call_for_nobody_has_a_result(self, tmp_path: Path) -> None:
        """Schedules and programs have no principal, and no memory may be there: a result, or words."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                for changed in ({"principal": None}, {"recall": None}, {"principal": None, "recall": None}):
                    context = Watched(await self.context(spec), **changed)
                    await self.attempt(tool, spec, await self.example(spec), context=context)

    async def test_any_session_has_a_result(self, tmp_path: Path) -> None:
        """Names of sessions come from channels, and are no paths."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                for session in ("", "../../etc", "a/b\\c", "x" * 500, *HOSTILE_TEXTS[2:5]):
                    context = Watched(await self.context(spec), session=session)
                    await self.attempt(tool, spec, await self.example(spec), context=context)

    async def test_any_clock_has_a_result(self, tmp_path: Path) -> None:
        """Seconds before 1970, far ahead, and between two seconds."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                for now in (0.0, -1.0, 0.5, 2_000_000_000.25, 32_503_680_000.0):
                    context = Watched(await self.context(spec), now=now)
                    await self.attempt(tool, spec, await self.example(spec), context=context)

    # -- cancellation

    async def test_cancelled_call_stops(self, tmp_path: Path) -> None:
        """Before it begins: a lane is free 5 s after a cancel at the latest."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                with within(self.stop_seconds, "a cancelled call stops", CALL), trio.CancelScope() as scope:
                    scope.cancel()
                    await tool.call(ToolCall(new_id(), spec.name, await self.example(spec)), await self.context(spec))
                if spec.effect != "once":
                    await self.succeed(tool, spec)

    async def test_call_can_be_cancelled_at_any_point(self, tmp_path: Path) -> None:
        """It stops, and the next call works."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                for point in POINTS:
                    await self.cancelled(tool, spec, point)
                if spec.effect != "once":
                    await self.succeed(tool, spec)

    async def test_call_that_takes_long_stops_when_cancelled(self, tmp_path: Path) -> None:
        """In the middle of its work, within 5 s; and other calls go on meanwhile."""
        found = False
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                arguments = await self.slow_example(spec)
                if arguments is None:
                    continue
                found, context = True, await self.context(spec)
                with within(self.stop_seconds + 0.5, "a call that takes long stops when it is cancelled", CALL):
                    with trio.move_on_after(0.5) as scope:
                        await tool.call(ToolCall(new_id(), spec.name, arguments), context)
                promise(scope.cancelled_caught, "the slow example takes long", CALL, (spec.name, arguments))
                await self.succeed(tool, spec)
        applies(found, "no tool is known to take long: override slow_example()")

    async def test_failure_has_words_for_the_model(self, tmp_path: Path) -> None:
        """A `ToolError` whose words help, or a result with an error and words."""
        found = False
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                arguments = await self.failing_example(spec)
                if arguments is None:
                    continue
                found = True
                result = await self.attempt(tool, spec, arguments)
                promise(result is None or words_of(result).strip(), "a failure has words", ERROR, (spec.name, result))
                await self.succeed(tool, spec)
        applies(found, "no tool is known to fail: override failing_example()")
