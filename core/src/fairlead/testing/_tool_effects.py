"""The promises of an effect: what reads changes nothing, what may run again has one effect, what remembers says it."""

from __future__ import annotations

from pathlib import Path

from fairlead._message import new_id
from fairlead.testing._applies import applies
from fairlead.testing._tool_base import EFFECT, ToolKit, words_of
from fairlead.testing._worker_kit import promise, same

__all__ = ["ToolEffects"]

POINTS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144)
READS, REPEATS = "no tool has the effect `read`", "no tool has the effect `idempotent`"


class ToolEffects(ToolKit):
    """After a crash the core decides by them what may run again."""

    async def test_reading_changes_nothing(self, tmp_path: Path) -> None:
        """Tools of the effect ``read``, whether they succeed or fail."""
        found = False
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                if spec.effect != "read":
                    continue
                found = True
                for arguments in (await self.example(spec), await self.failing_example(spec)):
                    before = await self.state(tmp_path)
                    if arguments is not None:
                        await self.attempt(tool, spec, arguments)
                    promise(before == await self.state(tmp_path), "what reads changes nothing", EFFECT, spec.name)
        applies(found, READS)

    async def test_reading_that_is_cancelled_changes_nothing(self, tmp_path: Path) -> None:
        """At any point."""
        found = False
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                if spec.effect != "read":
                    continue
                found = True
                await self.example(spec)
                before = await self.state(tmp_path)
                for point in POINTS:
                    await self.cancelled(tool, spec, point)
                promise(before == await self.state(tmp_path), "what reads changes nothing", EFFECT, spec.name)
        applies(found, READS)

    async def test_what_may_run_again_has_one_effect(self, tmp_path: Path) -> None:
        """``idempotent``: the same call, with the same id, a second time."""
        found = False
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                if spec.effect != "idempotent":
                    continue
                found = True
                arguments, context, call = await self.example(spec), await self.context(spec), new_id()
                await self.succeed(tool, spec, arguments, call=call, context=context)
                before = await self.state(tmp_path)
                await self.succeed(tool, spec, arguments, call=call, context=context)
                promise(before == await self.state(tmp_path), "the same call again is one effect", EFFECT, spec.name)
        applies(found, REPEATS)

    async def test_what_may_run_again_may_run_in_another_process(self, tmp_path: Path) -> None:
        """``idempotent``: the worker that did it is gone, and another one is asked with the same id."""
        found = False
        async with self.far_side(tmp_path):
            done: dict[str, tuple[object, str, object]] = {}
            async with self.worker(tmp_path) as tool:
                for spec in tool.specs():
                    if spec.effect == "idempotent":
                        arguments, context, call = await self.example(spec), await self.context(spec), new_id()
                        await self.succeed(tool, spec, arguments, call=call, context=context)
                        done[spec.name] = (arguments, call, context)
            before = await self.state(tmp_path)
            async with self.worker(tmp_path) as tool:
                for spec in tool.specs():
                    if spec.name in done:
                        found = True
                        arguments, call, context = done[spec.name]  # type: ignore[assignment]  # as they were kept
                        await self.succeed(tool, spec, arguments, call=call, context=context)
            same_state = before == await self.state(tmp_path)
        applies(found, REPEATS)
        promise(same_state, "the same call again, by another worker, is one effect", EFFECT, list(done))

    async def test_what_may_run_again_is_finished_after_a_cancellation(self, tmp_path: Path) -> None:
        """``idempotent``: cancelled anywhere, and then run again with the same id, it has its effect once."""
        found = False
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                if spec.effect != "idempotent":
                    continue
                found = True
                # One that remembers may remember that the call was cancelled.
                again = self.attempt if tool.remembers else self.succeed
                for point in POINTS:
                    arguments, context, call = await self.example(spec), await self.context(spec), new_id()
                    await self.cancelled(tool, spec, point, call)
                    await again(tool, spec, arguments, call=call, context=context)
                    before = await self.state(tmp_path)
                    await again(tool, spec, arguments, call=call, context=context)
                    once = before == await self.state(tmp_path)
                    promise(once, "a call that was cancelled is finished by its repetition", EFFECT, (spec.name, point))
        applies(found, REPEATS)

    async def test_failure_of_what_may_run_again_leaves_nothing(self, tmp_path: Path) -> None:
        """``idempotent``: a call that fails changes nothing by failing again."""
        found = False
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                arguments = await self.failing_example(spec) if spec.effect == "idempotent" else None
                if arguments is None:
                    continue
                found, call, context = True, new_id(), await self.context(spec)
                await self.attempt(tool, spec, arguments, call=call, context=context)
                before = await self.state(tmp_path)
                await self.attempt(tool, spec, arguments, call=call, context=context)
                promise(before == await self.state(tmp_path), "the same failure again changes nothing", EFFECT, spec)
        applies(found, "no tool of the effect `idempotent` is known to fail: override failing_example()")

    async def test_what_remembers_gives_the_same_result(self, tmp_path: Path) -> None:
        """`remembers`: the id of an earlier call gives that call's result, and has no second effect."""
        found = False
        source = "fairlead.Tool.remembers"
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs() if tool.remembers else ():
                found = True
                arguments, context, call = await self.example(spec), await self.context(spec), new_id()
                first = await self.succeed(tool, spec, arguments, call=call, context=context)
                before = await self.state(tmp_path)
                second = await self.succeed(tool, spec, arguments, call=call, context=context)
                same(words_of(first), words_of(second), "an id that is known gives its result", source)
                promise(before == await self.state(tmp_path), "an id that is known has no second effect", source, spec)
        applies(found, "the tool does not say that it remembers calls")
