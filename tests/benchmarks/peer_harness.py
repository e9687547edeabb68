"""What is asked of another framework: `ask`, and nothing else. Runs in its environment, with the standard library only.

    python peer_NAME.py SCENARIO [--count N] [--seconds S] [--directory DIR] [--durable]

Each `peer_NAME.py` uses its framework by its public API, with a model that answers from a rule: *done*, or where a tool
is wanted, first one call of `add`, then what the tool gave. Scenarios are those of `scenarios.py`, and `race`, `begin`
and `after` for how it behaves: two messages at once, and a process that is killed inside a tool. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scenarios import MODEL_SECONDS, Ask, Found, each_in_its_own_session, many_at_once, one_that_grows

COUNTS = {"turn": 500, "tool": 500, "grow": 10_000, "crowd": 1_000, "race": 0, "begin": 0, "after": 0}
RACE_SECONDS = 0.03
SLOW_TOOL_SECONDS = 0.3
"""Long enough for whatever writes in the background."""
FIRST, SECOND, THIRD = "the first message", "the second message", "the third message"


@dataclass
class Plan:
    """What a run asks of a framework."""

    tool: bool
    delay: float
    """Seconds that the model takes."""
    directory: Path | None
    """Where its store is; None where nothing is kept but in memory."""
    one_session: bool
    """Turns follow each other in a session, so that it must remember them."""
    heard: list[str] | None = None
    """What the model was shown, where somebody wants to know."""
    deadly: int = 0
    """The call of the tool that its process does not survive."""
    calls: int = field(default=0, init=False)

    def listen(self, shown: object) -> None:
        """Where somebody wants to know what the model is shown."""
        if self.heard is not None:
            self.heard.append(words_of(shown))

    async def think(self, shown: object) -> None:
        """What the model does before it answers."""
        self.listen(shown)
        if self.delay:
            await asyncio.sleep(self.delay)

    async def add(self, a: int, b: int) -> int:
        """The tool."""
        self.calls += 1
        if self.calls == self.deadly:
            await asyncio.sleep(SLOW_TOOL_SECONDS)
            os.kill(os.getpid(), signal.SIGKILL)
        return a + b


class Peer:
    """One framework. A session is a name: the same one goes on, a new one begins empty."""

    packages: tuple[str, ...] = ()
    """Whose versions are told."""
    """What it keeps sessions with on a disk; empty for nothing."""
    blocking = False
    """Its turn is a plain function, so many at once need a thread each."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    async def open(self) -> None:
        """Build the model, the agent, and where the plan has a directory, the store."""

    async def ask(self, session: str, text: str) -> str:
        """One turn: the text of the answer."""
        raise NotImplementedError

    def ask_blocking(self, session: str, text: str) -> str:
        """The same, where `blocking`."""
        raise NotImplementedError

    async def close(self) -> None:
        """The end."""


def words_of(shown: Any) -> str:
    """All words in something that a model is shown, whatever it is made of."""
    if isinstance(shown, list | tuple):
        return " ".join(map(words_of, shown))
    if isinstance(shown, dict):
        return words_of([*shown.values()])
    parts = [str(getattr(shown, name, "")) for name in ("text", "content", "contents", "parts")]
    return " ".join([str(shown), *parts])


async def together(acts: Sequence[Callable[[], Awaitable[None]]]) -> None:
    await asyncio.gather(*(act() for act in acts))


async def race(ask: Ask, plan: Plan) -> dict[str, Any]:
    """Two messages at once on one session: what is told of them, and what the model is shown of them afterwards."""
    assert plan.heard is not None
    await ask("one", FIRST)
    answers = await asyncio.gather(*(ask("one", text) for text in (SECOND, THIRD)), return_exceptions=True)
    plan.heard.clear()
    try:
        await ask("one", "anything else?")
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what users get
        return {"errors": _errors([*answers, error]), "kept": []}
    return {"errors": _errors(answers), "kept": kept_in(plan.heard[-1])}


def kept_in(shown: str) -> list[str]:
    """Which of the three messages are in what the model is shown."""
    return [name for name, text in (("first", FIRST), ("second", SECOND), ("third", THIRD)) if text in shown]


def _errors(answers: Sequence[object]) -> list[str]:
    return [type(answer).__name__ for answer in answers if isinstance(answer, BaseException)]


async def begin(ask: Ask, plan: Plan) -> dict[str, Any]:
    """Killed inside the tool of the second turn."""
    plan.deadly = 2
    await ask("one", FIRST)
    await ask("one", SECOND)
    raise SystemExit("the process was not killed")


async def after(ask: Ask, plan: Plan) -> dict[str, Any]:
    """The next process goes on with that session."""
    assert plan.heard is not None
    try:
        await ask("one", THIRD)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what users get
        return {"errors": _errors([error]), "kept": []}
    return {"errors": [], "kept": kept_in(plan.heard[-1])}


async def run(made: type[Peer], scenario: str, given: argparse.Namespace, directory: str) -> dict[str, Any]:
    crowd = scenario == "crowd"
    plan = Plan(
        tool=scenario in {"tool", "crowd", "begin"},
        delay={"crowd": MODEL_SECONDS, "race": RACE_SECONDS}.get(scenario, 0.0),
        directory=Path(directory) if given.durable else None,
        one_session=scenario not in {"turn", "tool"},
        heard=[] if scenario in {"race", "after"} else None,
    )
    peer, count = made(plan), given.count or COUNTS[scenario]
    await peer.open()
    ask = in_threads(peer, max(count, 2)) if made.blocking and (crowd or scenario == "race") else peer.ask
    found: dict[str, Any] | Found
    if crowd:
        found = await many_at_once(ask, count, together)
    elif scenario == "grow":
        found = await one_that_grows(ask, count, seconds=given.seconds, beside=False)
    elif scenario in {"turn", "tool"}:
        found = await each_in_its_own_session(ask, count, tool=plan.tool, seconds=given.seconds)
    else:
        found = await {"race": race, "begin": begin, "after": after}[scenario](ask, plan)
    await peer.close()
    return {**found, "versions": {name: version(name) for name in made.packages}}


def in_threads(peer: Peer, sessions: int) -> Ask:
    pool = ThreadPoolExecutor(max_workers=sessions)

    async def ask(session: str, text: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(pool, peer.ask_blocking, session, text)

    return ask


def main(made: type[Peer]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=COUNTS)
    parser.add_argument("--count", type=int, default=0, help="turns, or sessions")
    parser.add_argument("--seconds", type=float, default=60.0, help="ends early after these")
    parser.add_argument("--directory", help="where its store is made")
    parser.add_argument("--keep", action="store_true", help="in that directory itself, and leave it there")
    parser.add_argument("--durable", action="store_true", help="with its own store on the disk")
    given = parser.parse_args()
    place = nullcontext(given.directory) if given.keep else tempfile.TemporaryDirectory(dir=given.directory)
    with place as directory:
        found = asyncio.run(run(made, given.scenario, given, directory))
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # some leave threads behind that would never end
