"""Calls of tools that never await: no event loop is made for them, and all else is as it is for others."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead import Principal
from fairlead.errors import ToolError
from fairlead_sandbox.errors import SandboxError, Timeout
from fairlead_sandbox.runner import Limits, Outcome, Table, Watch, Work

from .inside_calls import Seen, run
from .inside_namespace import Sandbox, sandbox

TABLES = (Table("prompt", "probes.prompt"),)


async def do(box: Sandbox, what: str, watch: Watch | None = None, **changes: Any) -> Outcome:
    work = Work(f"call of {what}", "prompt", "do", {"what": what}, effect="read", **changes)
    return await box.runner.call(work, watch)


async def test_nothing_that_awaits_is_loaded(tmp_path: Path) -> None:
    """Neither the event loop nor what turns objects into JSON, which take half of a call's time and memory."""
    async with sandbox(tmp_path, tables=TABLES) as box:
        # The tool's schema has a pattern, which only its own side checks: so its validator is there.
        assert "jsonschema" == (await do(box, "modules")).value


async def test_functions_and_classes_answer(tmp_path: Path) -> None:
    """Text, a value of a function, a file of the workspace."""
    async with sandbox(tmp_path, tables=TABLES) as box:
        (box.work / "a.txt").write_text("kept")
        assert "True True" == (await do(box, "", now=5.0)).value
        doubled = await box.runner.call(Work("d", "prompt", "double", {"number": 21}, worker=1, effect="read"))
        assert "42" == doubled.value
        sent = await do(box, "file")
        assert [{"name": "a.txt", "media_type": "text/plain", "data": "a2VwdA==", "type": "file"}] == sent.value[
            "parts"
        ]


async def test_function_that_a_decorator_made_look_plain_is_awaited(tmp_path: Path) -> None:
    """As it is in the host: an event loop is made for it there and then."""
    async with sandbox(tmp_path, tables=TABLES) as box:
        tripled = await box.runner.call(Work("t", "prompt", "triple", {"number": 14}, worker=2, effect="read"))
        assert ("42", None) == (tripled.value, tripled.error)


async def test_its_errors_are_typed(tmp_path: Path) -> None:
    """What it raises, arguments that only its own side checks, and a tool that awaits although it says it does not."""
    async with sandbox(tmp_path, tables=TABLES) as box:
        failed = (await do(box, "fail")).error
        assert isinstance(failed, ToolError)
        assert ("as it was told", "tell it something else") == (failed.problem, failed.next_step)
        wrong = await do(box, "NOT LOWER CASE")
        assert "invalid" == wrong.value["error"]
        waits = (await do(box, "wait")).error
        assert isinstance(waits, ToolError)
        assert "immediate = False" in waits.next_step
        assert "True True" == (await do(box, "", now=5.0)).value


async def test_it_asks_the_host(tmp_path: Path) -> None:
    """Progress and recall, each done when it is awaited."""
    note = {"id": "n1", "text": "a word", "scope": "somebody"}

    class Keeper(Seen):
        async def ask(self, service: str, args: Any) -> Any:
            await super().ask(service, args)
            return note if service == "recall.add" else [note]

    seen = Keeper()
    async with sandbox(tmp_path, tables=TABLES) as box:
        outcome = await do(box, "recall", seen, recall=True, principal=Principal("somebody", roles=("friend",)))
        assert "a word: ['a word']" == outcome.value
        assert ["recall.add", "recall.search"] == [service for service, _ in seen.asked]


async def test_it_is_killed_where_it_does_not_end(tmp_path: Path) -> None:
    """By its limit, and when its caller is cancelled; the sandbox goes on."""
    seen = Seen()
    async with sandbox(tmp_path, tables=TABLES) as box:
        assert isinstance((await do(box, "spin", limits=Limits(seconds=0.1))).error, Timeout)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(do, box, "spin", seen)
            await seen.first.wait()
            began = time.monotonic()
            nursery.cancel_scope.cancel()
        assert time.monotonic() - began < 2
        assert box.runner.usable
        assert "True True" == (await do(box, "", now=5.0)).value


async def test_beside_a_tool_that_awaits_all_run_on_the_event_loop(tmp_path: Path) -> None:
    """The process of a call is made before anybody knows whose it will be."""
    async with sandbox(tmp_path, tables=(*TABLES, Table("probes", "probes.plugin"))) as box:
        assert "done" == (await run(box, "await trio.sleep(0)")).value
        assert "trio" in (await do(box, "modules")).value
        assert isinstance((await do(box, "fail")).error, ToolError)


@pytest.mark.parametrize("tables", [TABLES, (Table("probes", "probes.plugin"),)], ids=["immediate", "on trio"])
async def test_after_a_rest_no_process_waits_and_the_next_call_is_answered(
    tmp_path: Path, tables: tuple[Table, ...]
) -> None:
    """Twice, so that the end of the one that was sent away is not taken for the end of another."""
    tool, arguments = ("do", {"what": ""}) if tables is TABLES else ("echo", {"text": "True True"})
    async with sandbox(tmp_path, tables=tables, changes={"rest_seconds": 0.05}) as box:
        for number in range(3):
            with trio.fail_after(5):
                while len(children(box)) > 2:  # noqa: ASYNC110  # the supervisor is another process
                    await trio.sleep(0.01)  # real time: as above
            work = Work(f"{number}", tables[0].name, tool, arguments, effect="read", now=5.0)
            outcome = await box.runner.call(work)
            assert ("True True", None) == (outcome.value, outcome.error)
        assert not isinstance(outcome.error, SandboxError)


def children(box: Sandbox) -> list[str]:
    """The processes below the supervisor: the seed, the zygote, and what it has forked."""
    pid = int(Path(f"/proc/{box.process.pid}/task/{box.process.pid}/children").read_text().split()[0])
    found, left = [], [str(pid)]
    while left:
        each = left.pop()
        below = Path(f"/proc/{each}/task/{each}/children").read_text().split()
        found += below
        left += below
    return found
