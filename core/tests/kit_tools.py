"""A worker of tools that keeps every promise, on files; and, by name, each way to break one.

`Ledger(path)` is the right one; the argument `wrong` names a fault, which one check of the kit finds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trio
from attrs import evolve

from fairlead import File, Text, Tool, ToolCall, ToolContext, ToolResult, ToolSpec
from fairlead.errors import ToolError

__all__ = ["FAILING", "LARGE", "SECRET", "SLOW", "Abacus", "Ledger"]

SECRET = "kit-password-3b1d"
SLOW = {"look": {"what": "apples", "seconds": 30}}
FAILING = {"look": {"what": "no such thing"}, "put": {"name": "forbidden", "text": "x"}}
LARGE = {"look": {"what": "apples", "times": 1000}}
OPENED: set[Path] = set()

LOOK = {
    "type": "object",
    "properties": {
        "what": {"type": "string", "description": "A word"},
        "seconds": {"type": "number", "minimum": 0, "maximum": 60},
        "times": {"type": "integer", "minimum": 0},
        "more": {"type": ["object", "array", "null", "boolean"]},
    },
    "required": ["what"],
    "examples": [{"what": "apples"}, {"what": "pears", "times": 2, "more": []}],
}
PUT = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "text": {"type": "string", "maxLength": 1000}},
    "required": ["name", "text"],
    "additionalProperties": False,
    "examples": [{"name": "a", "text": "b"}],
}
SPENT = {"type": "object", "properties": {"amount": {"type": "number"}}, "examples": [{"amount": 1.5}]}
SPECS = (
    ToolSpec("look", "Looks something up.", LOOK, "read", "host", 2.0),
    ToolSpec("put", "Keeps a text under a name.", PUT, "idempotent", "host", 2.0),
    ToolSpec("spend", "Spends money.", SPENT, "once", "host", 2.0, parallel=False),
)


class Ledger(Tool):
    """Three tools, one of each effect."""

    remembers = True

    def __init__(self, path: Path, wrong: str = "") -> None:
        self._path, self.wrong = path, wrong
        self.immediate = wrong == "says that it is immediate"
        self.remembers = wrong != "does not remember"
        self._calls = self._asked = 0
        self._running: list[str] = []
        self._seen: set[str] = set()
        self._half: set[str] = set()
        self._lock = trio.Semaphore(1)

    def __repr__(self) -> str:
        return f"Ledger({SECRET if self.wrong == 'tells its secret' else ''})"

    async def open(self) -> None:
        if self.wrong in ("works once", "wants to be alone"):
            if self._path in OPENED:
                raise RuntimeError("not again")
            OPENED.add(self._path)

    async def close(self) -> None:
        if self.wrong == "wants to be alone":
            OPENED.discard(self._path)

    def specs(self) -> Sequence[ToolSpec]:
        self._asked += 1
        changed: dict[str, dict[str, Any]] = {
            "has two tools of a name": {"name": "put"},
            "has a blank in a name": {"name": "look up"},
            "says nothing of itself": {"description": " "},
            "has an odd effect": {"effect": "maybe"},
            "has an odd floor": {"isolation": "cellar"},
            "has no time": {"timeout": -1.0},
            "takes too long": {"timeout": 0.05},
            "has more to say each time": {"description": f"asked {self._asked} times"},
            "cannot be published": {"parameters": {**LOOK, "default": float("nan")}},
            "has a broken schema": {"parameters": {"type": "object", "properties": 5, "examples": [{}]}},
            "refers elsewhere": {"parameters": {**LOOK, "$ref": "https://example.org"}},
            "takes lists": {"parameters": {**LOOK, "type": ["object", "array"]}},
            "has a wrong example": {"parameters": {**LOOK, "examples": [{"what": "a"}, {"what": 5}]}},
            "requires what nobody knows": {
                "parameters": {**LOOK, "required": ["what", "x"], "examples": [{"what": "a", "x": 1}]}
            },
            "takes anything": {"parameters": {**LOOK, "properties": {**LOOK["properties"], "more": {}}}},  # type: ignore[dict-item]  # a dictionary
            "fails without saying so": {},
        }
        return (evolve(SPECS[0], **changed.get(self.wrong, {})), *SPECS[1:])

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult | str:
        self._calls += 1
        await self._misbehave(call, context)
        if self.wrong == "changes its arguments":
            call.arguments["more"] = None
        found = {"look": self._look, "put": self._put}.get(call.tool.replace(" up", ""), self._spend)
        self._running.append(call.id)
        try:
            text = await found(call, context)
        finally:
            self._running.remove(call.id)
        return self._told(call, text)

    def _told(self, call: ToolCall, text: str) -> ToolResult | str:
        results: dict[str, ToolResult | str] = {
            "says nothing in the end": "",
            "names another call": ToolResult("another", call.tool, (Text(text),)),
            "makes up an error": ToolResult(call.id, call.tool, (Text(text),), "oops" if text == "it failed" else ""),
            "gives a file without bytes": ToolResult(call.id, call.tool, (File("a", "text/plain"),)),
            "claims to be isolated": ToolResult(call.id, call.tool, (Text(text),), evidence={"level": "kernel"}),
            "says what is no Unicode": "caf\udce9",
            "mixes calls": ToolResult(self._running[0] if self._running else call.id, call.tool, (Text(text),)),
        }
        found = results.get(self.wrong, text)
        return found if call.tool == "look" or self.wrong != "mixes calls" else text

    async def _misbehave(self, call: ToolCall, context: ToolContext) -> None:
        """What goes wrong whatever the tool is."""
        wrong, shown = self.wrong, json.dumps(call.arguments)
        last = str(call.arguments.get("what", call.arguments.get("name", "")))
        if wrong == "tires" and self._calls > 10:
            raise RuntimeError("enough")
        if wrong == "needs somebody" and not context.principal:
            raise AttributeError("nobody has no id")
        if wrong == "makes a directory of the session":
            (self._path / f"{context.session}x").mkdir(exist_ok=True)
        if wrong == "knows no time before 1970":
            math.sqrt(context.now())
        if wrong == "is deaf to cancellation":
            with trio.CancelScope(shield=True):
                await trio.sleep(0.6)  # real time: the check looks at a clock
        if wrong == "is locked once cancelled":
            await self._lock.acquire()
            for _ in range(4):
                await trio.lowlevel.checkpoint()
            self._lock.release()
        stumbles = {
            "knows no astral planes": "\U0001f9ed" in last,
            "knows no control characters": "\x00" in last,
            "opens paths": last.startswith("/proc"),
            "chokes on much": len(shown) > 500_000,
            "recurses": "[" * 100 in shown.replace(" ", ""),
            "counts to a limit": any(isinstance(each, int) and each > 2**40 for each in call.arguments.values()),
            "wants objects": isinstance(call.arguments.get("more"), list) and len(call.arguments["more"]) > 10,
            "knows what it takes": "no_such_argument" in call.arguments,
            "needs what is optional": call.tool == "spend" and "amount" not in call.arguments,
        }
        if stumbles.get(wrong):
            raise KeyError(wrong)

    # -- the three

    async def _look(self, call: ToolCall, context: ToolContext) -> str:
        arguments: Mapping[str, Any] = call.arguments
        if self.wrong == "writes while it reads":
            (self._path / "log.txt").write_text(str(self._calls))
        if self.wrong == "fails at its example" and arguments["what"] == "pears":
            raise ToolError("no pears today")
        try:
            for _ in range(4):
                await trio.lowlevel.checkpoint()
            await self._progress(context)
            await self._wait(arguments)
        except trio.Cancelled:
            if self.wrong == "leaves files when cancelled":
                (self._path / "half").write_text("half")
            raise
        if arguments["what"] == "no such thing" and self.wrong != "never fails":
            return self._fail(f"there is no {arguments['what']!r}")
        if len(arguments["what"]) > 100_000:
            raise ToolError(arguments["what"] if self.wrong == "repeats what it is given" else "that is too long")
        secret = SECRET if self.wrong == "tells its secret in results" else "secret"
        times = int(min(arguments.get("times", 1), 10_000))
        unit = "x" * 3000 if self.wrong == "says too much" else secret
        return " ".join(["found", *(unit for _ in range(times))])

    def _fail(self, problem: str) -> str:
        if self.wrong == "fails without words":
            raise ToolError("")
        if self.wrong == "makes up an error":
            return "it failed"
        raise ToolError(problem)

    async def _progress(self, context: ToolContext) -> None:
        if self.wrong == "hurries whoever watches":
            with trio.fail_after(0.0001):
                await context.progress("looking")
        await context.progress(" " if self.wrong == "mumbles" else "looking")

    async def _wait(self, arguments: Mapping[str, Any]) -> None:
        seconds = 0.2 if self.wrong == "takes too long" else arguments.get("seconds", 0)
        if self.wrong == "works on when cancelled" and seconds:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)  # real time: the check looks at a clock
        # A tool that looks for long is patient, and no longer than its time.
        await trio.sleep(seconds)  # real time: the check looks at a clock

    async def _put(self, call: ToolCall, context: ToolContext) -> str:
        name = hashlib.sha256(call.arguments["name"].encode()).hexdigest()[:16]
        if call.arguments["name"] == "forbidden":
            if self.wrong == "keeps a log of failures":
                with (self._path / "log.txt").open("a") as log:
                    log.write("failed\n")
            raise ToolError("that name is forbidden")
        try:
            for _ in range(4):  # so long that a cancellation surely meets it
                await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            self._half.add(call.id)
            raise
        appends = {
            "writes twice": True,
            "remembers in its memory": True,
            "is half done when cancelled": call.id in self._half,
        }.get(self.wrong, False)
        if self.wrong == "remembers in its memory" and call.id in self._seen:
            return "kept"
        self._seen.add(call.id)
        with (self._path / name).open("a" if appends else "w", encoding="utf-8") as file:
            file.write(call.arguments["text"])
        return "kept"

    async def _spend(self, call: ToolCall, context: ToolContext) -> str:
        record = self._path / "spent.json"
        found: dict[str, str] = json.loads(record.read_text("utf-8")) if record.exists() else {}
        await trio.lowlevel.checkpoint()
        if call.id in found and self.wrong != "forgets what it did":
            return found[call.id]
        found[call.id] = f"spent {call.arguments.get('amount', 0)} in {len(found)}"
        record.write_text(json.dumps(found), "utf-8")
        return found[call.id]


class Abacus(Tool):
    """One tool that never waits, takes nothing and cannot fail."""

    immediate = True

    def specs(self) -> Sequence[ToolSpec]:
        return (ToolSpec("one", "Says one.", effect="read", isolation="host"),)

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        return "one"
