"""A process that asks for an approval is killed at each write: one grant makes at most one call, and none is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

import fairlead
from fairlead import Principal, Settings, Verdict
from fairlead.config import Config, Limits
from fairlead.testing import CountingTool, FakePolicy, ScriptedProvider, calls
from fairlead_sqlite import SqliteMemory

CHILD = Path(__file__).parent / "approving_child.py"
WRITES = 8
"""Of a life without a death: the message, the answer with its question, the sending and its end, the decision, the use,
the result, and the answer; what is behind them changes nothing about the approval."""


def live(directory: Path, number: int, when: str, effect: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, str(CHILD), str(directory), str(number), when, effect]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_killed_at_each_write_a_grant_starts_at_most_one_call(number: int, when: str, tmp_path: Path) -> None:
    """Between the decision and the start, between the start and the result, and everywhere else.

    A call that may have been made is unknown, and not made again because its approval is still there.
    """
    code, _ = live(tmp_path, number, when, "once")
    assert -signal.SIGKILL == code
    code, told = live(tmp_path, 0, when, "once")
    assert 0 == code
    effects = tmp_path / "effects"
    made = len(effects.read_text()) if effects.exists() else 0
    assert (1, 1) == (told["ended"], len(told["used"]))
    assert told["results"] in ([""], ["unknown"])
    assert 1 == made or told["results"] == ["unknown"]
    assert made <= 1


@pytest.mark.parametrize("number", range(5, WRITES))
def test_call_that_may_be_made_again_needs_another_approval(number: int, tmp_path: Path) -> None:
    """What only reads may run again, and each start has a grant of its own."""
    live(tmp_path, number, "after", "read")
    code, told = live(tmp_path, 0, "after", "read")
    assert (0, 1, [""]) == (code, told["ended"], told["results"])
    assert len((tmp_path / "effects").read_text()) <= len(told["used"]) == len(set(told["used"]))


async def test_other_process_decides_and_takes_nothing_over_while_people_are_waited_for(tmp_path: Path) -> None:
    """A turn may take 0.2 s here; the other process waits longer for it, since it is people who take their time."""
    tool = CountingTool("act", "done", effect="once", parameters={"type": "object"})
    config = Config(data_dir=tmp_path, limits=Limits(seconds=0.2))
    asks = FakePolicy(lambda _: Verdict("ask", "careful"), ["tool_call"])
    replies: dict[str, str] = {}

    def process(*script: Any) -> Any:
        memory = SqliteMemory(Settings("sqlite", {}, tmp_path))
        return fairlead.open(
            config, providers=[ScriptedProvider(script)], tools=[tool], policies=[asks], memories=[memory]
        )

    async def ask(app: fairlead.App, words: str) -> None:
        replies[words] = (await app.ask(words, session="shared")).text

    async with process(calls(("act", {})), "for the first") as one, process("for the second") as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, one, "first")
            while not (waiting := await two.approvals()):  # noqa: ASYNC110  # the journal has no event for it
                await trio.sleep(0.02)  # real time: two apps, and a file between them
            nursery.start_soon(ask, two, "second")
            await trio.sleep(2)  # real time: as above
            assert ({}, []) == (replies, tool.calls)
            await two.decide(waiting[0].event.id, allow=True, by=Principal("cli:operator"))
        assert {"first": "for the first", "second": "for the second"} == replies
        assert 1 == len(tool.calls)
