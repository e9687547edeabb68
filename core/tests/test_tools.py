"""Functions as tools, the registry, and what a call may know."""

from __future__ import annotations

import enum
import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest
import trio
from attrs import evolve, field, frozen

import fairlead
from fairlead import ToolCall, ToolContext, ToolSpec, errors
from fairlead._function import FunctionTool
from fairlead._tools import CallContext, ToolRegistry
from fairlead.config import Agent
from fairlead.memory import Note, Recall
from fairlead.testing import CountingTool, FakeToolContext, ScriptedProvider, calls


class Unit(enum.Enum):
    METRE = "m"
    FOOT = "ft"


@frozen
class Point:
    x: int
    y: int = 0


@frozen
class Positive:
    size: int = field()

    @size.validator
    def _check(self, _: object, value: int) -> None:
        if value <= 0:
            raise ValueError(f"expected a size above 0, found {value}")


async def called(function: Callable[..., Any], context: ToolContext | None = None, **arguments: Any) -> Any:
    tool = FunctionTool(function)
    return await tool.call(ToolCall("c", tool.name, arguments), context or FakeToolContext())


# -- functions


async def test_plain_function_and_coroutine_function() -> None:
    """Both are called with the arguments by name."""

    def plain(a: int, b: int = 2) -> int:
        return a + b

    async def waits(a: int) -> str:
        await trio.lowlevel.checkpoint()
        return f"got {a}"

    assert "3" == await called(plain, a=1)
    assert "got 1" == await called(waits, a=1)


async def test_function_that_gives_an_awaitable() -> None:
    """A decorator that hides the `async` is seen through."""

    async def waits(text: str) -> str:
        await trio.lowlevel.checkpoint()
        return text

    @functools.wraps(waits)
    def hidden(*args: Any, **kwargs: Any) -> Any:
        return waits(*args, **kwargs)

    assert "x" == await called(hidden, text="x")


async def test_slow_function_moves_to_a_thread() -> None:
    """The first call shows that it is slow; from the second on it stalls nobody. A quick one stays where it is.

    After 16 quick calls in a row it is back: the machine was slow, and not the function. The next time it takes 32.
    """
    threads: list[int] = []

    def sleepy(seconds: float) -> str:
        threads.append(threading.get_ident())
        if seconds:
            time.sleep(seconds)  # real time: a function that blocks its thread is the case
        return "slept"

    tool = FunctionTool(sleepy)
    quick = 0.0
    for seconds in (quick, 0.03, *[quick] * 17, 0.03, *[quick] * 33):
        assert "slept" == await tool.call(ToolCall("c", "sleepy", {"seconds": seconds}), FakeToolContext())
    here = threading.get_ident()
    in_place = [thread == here for thread in threads]
    assert [True, True, *[False] * 16, True, True, *[False] * 32, True] == in_place


async def test_thread_that_hangs_does_not_hold_the_turn() -> None:
    """Time is out for a function in a thread too: nobody knows what becomes of it."""
    go_on = threading.Event()
    runs: list[int] = []

    def hang() -> str:
        runs.append(1)
        if len(runs) == 1:
            time.sleep(0.03)  # real time: a function that blocks its thread is the case
        else:
            go_on.wait(60)
        return "late"

    tool = FunctionTool(hang)
    registry = registry_of(seconds=0.05)
    registry.add(tool)
    entry = registry.find("hang")
    assert entry is not None
    try:
        await tool.call(ToolCall("c1", "hang", {}), FakeToolContext())
        with trio.fail_after(5):
            result, _ = await registry.run(entry, ToolCall("c2", "hang", {}), FakeToolContext())
    finally:
        go_on.set()
    assert ("unknown", "no result within 0.05 s") == (result.error, result.text)


async def test_arguments_arrive_as_python_values() -> None:
    """Enums, classes, literals and lists of them, wherever JSON has only text, numbers and maps."""
    got: dict[str, Any] = {}

    def draw(  # noqa: PLR0917  # one of each kind
        unit: Unit,
        at: Point,
        path: list[Point],
        mode: Literal["fast", "slow"],
        corner: Point | None = None,
        names: frozenset[str] = frozenset(),
        box: tuple[int, int] = (0, 0),
        times: int = 1,
        extra: dict[str, Any] | None = None,
    ) -> None:
        got.update(locals())

    raw: dict[str, Any] = {
        "unit": "ft",
        "at": {"x": 1},
        "path": [{"x": 1, "y": 2}, {"x": 3}],
        "mode": "fast",
        "corner": {"x": 0},
        "names": ["a", "a"],
        "box": [1, 2],
        "times": 3.0,
        "extra": {"k": [1]},
    }
    registry = registry_of()
    registry.add(FunctionTool(draw))
    entry = registry.find("draw")
    assert entry is not None
    assert not registry.fault(entry, raw)
    assert "done" == await called(draw, **raw)
    got.pop("got", None)
    assert {
        "unit": Unit.FOOT,
        "at": Point(1),
        "path": [Point(1, 2), Point(3)],
        "mode": "fast",
        "corner": Point(0),
        "names": frozenset("a"),
        "box": (1, 2),
        "times": 3,
        "extra": {"k": [1]},
    } == got
    assert type(got["times"]) is int


async def test_defaults_are_the_functions_own() -> None:
    """What the model leaves out is not made up."""

    def where(at: Point = Point(7)) -> int:
        return at.x

    assert "7" == await called(where)


async def test_value_that_a_class_refuses_is_told_to_the_model() -> None:
    """A validator says more than a schema can; its words are for the model."""

    def make(thing: Positive) -> str:
        return str(thing.size)

    with pytest.raises(errors.ToolError, match=r"arguments were refused: .*expected a size above 0, found -1"):
        await called(make, thing={"size": -1})


def test_types_that_json_cannot_tell_apart_are_refused_at_once() -> None:
    """Not in the middle of a turn."""

    def either(what: Point | list[Point] | list[int]) -> None: ...

    with pytest.raises(TypeError, match="JSON cannot become"):
        FunctionTool(either)


class Odd:
    def __str__(self) -> str:
        return "odd thing"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ("", ""),
        (None, "done"),
        (True, "true"),
        (1.5, "1.5"),
        ([1, "ü"], '[1, "ü"]'),
        ({"a": Unit.METRE}, '{"a": "m"}'),
        (Point(1), '{"x": 1, "y": 0}'),
        ([Point(1, 2)], '[{"x": 1, "y": 2}]'),
        ((1, 2), "[1, 2]"),
        ({3}, "[3]"),
        (Unit.METRE, "m"),
        (Odd(), "odd thing"),
        ([Odd()], '["odd thing"]'),
    ],
)
async def test_value_becomes_text(value: Any, text: str) -> None:
    """Text stays, data are JSON with every field, anything else is what it calls itself."""
    assert text == await called(_giving(value))


def _giving(value: Any) -> Callable[[], Any]:
    def give() -> Any:
        return value

    return give


async def test_context_reaches_the_function() -> None:
    """Under the name that the function has for it, also where it may be None."""

    async def tell(what: str, ctx: ToolContext | None = None) -> str:
        assert ctx is not None
        await ctx.progress(what)
        return ctx.session

    context = FakeToolContext("s")
    assert "s" == await called(tell, context, what="half")
    assert ["half"] == context.told


# -- the registry


def registry_of(**options: Any) -> ToolRegistry:
    defaults: dict[str, Any] = {"result_chars": 1000, "seconds": 5.0, "notice": lambda *_: None}
    return ToolRegistry(**defaults | options)


class Several(fairlead.Tool):
    """One worker with the specs of the test."""

    name = "several"

    def __init__(self, *specs: ToolSpec) -> None:
        self._specs = specs

    def specs(self) -> Sequence[ToolSpec]:
        return self._specs

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        return call.tool


SPEC = ToolSpec("tool", "Does it.", isolation="host")


@pytest.mark.parametrize("name", ["", "a b", "a.b", "ü", "x" * 65, "a\n"])
def test_bad_name_is_refused(name: str) -> None:
    """What some provider would not take is refused for all."""
    with pytest.raises(errors.PluginLoadError, match="expected 1 to 64 letters") as caught:
        registry_of().add(Several(evolve(SPEC, name=name)))
    assert "tools/several" == caught.value.plugin


def test_name_that_is_taken_is_refused_and_nothing_is_added() -> None:
    """By another worker or by the same one; the other is named."""
    registry = registry_of()
    registry.add(CountingTool("tool"))
    with pytest.raises(errors.PluginLoadError, match="worker 'tool' already has a tool of that name"):
        registry.add(Several(evolve(SPEC, name="fresh"), SPEC))
    with pytest.raises(errors.PluginLoadError, match="worker 'several' already has a tool of that name"):
        registry.add(Several(evolve(SPEC, name="twice"), evolve(SPEC, name="twice")))
    assert ["tool"] == [spec.name for spec in registry.specs()]


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "string"}, "expected parameters of type 'object', found 'string'"),
        ({}, "expected parameters of type 'object', found None"),
        ({"type": "object", "properties": 3}, "not a JSON Schema of draft 2020-12"),
        ({"type": "object", "$ref": "file:///etc/passwd"}, "refers to 'file:///etc/passwd'"),
    ],
)
def test_bad_schema_is_refused(schema: Any, problem: str) -> None:
    """Before a model ever sees the tool."""
    with pytest.raises(errors.PluginLoadError, match=problem):
        registry_of().add(Several(evolve(SPEC, parameters=schema)))


@pytest.mark.parametrize(
    ("patterns", "seen"),
    [
        (None, ["file_read", "file_write", "files", "now"]),
        ((), []),
        (("now",), ["now"]),
        (("file_*",), ["file_read", "file_write"]),
        (("*",), ["file_read", "file_write", "files", "now"]),
        (("now", "files", "unknown"), ["files", "now"]),
        (("*s",), []),
    ],
)
def test_agent_sees_what_its_patterns_list(patterns: tuple[str, ...] | None, seen: list[str]) -> None:
    """A name, or a family with a star at its end; a star elsewhere is none."""
    registry = registry_of()
    registry.add(Several(*(evolve(SPEC, name=name) for name in ("file_read", "file_write", "files", "now"))))
    agent = Agent(tools=patterns)
    assert seen == [spec.name for spec in registry.specs(agent)]
    registry.add(CountingTool("later"))
    assert ("later" in [spec.name for spec in registry.specs(agent)]) is (patterns in (None, ("*",)))


async def test_result_of_another_type_is_the_tools_fault() -> None:
    """The operator is told, the model learns only that something broke."""
    notices: list[tuple[str, str]] = []
    registry = registry_of(notice=lambda subject, detail: notices.append((subject, detail)))
    registry.add(CountingTool("tool", 42))  # type: ignore[arg-type]  # the fault
    entry = registry.find("tool")
    assert entry is not None
    result, _ = await registry.run(entry, ToolCall("c", "tool", {}), FakeToolContext())
    assert ("failed", "internal error in the tool (TypeError)") == (result.error, result.text)
    assert [("tools/tool", "call c raised TypeError: expected a ToolResult or text, found int")] == notices


# -- what a call may know


class Shelf(Recall):
    """Keeps the notes and the scopes that it was asked for."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.scopes: list[str] = []

    async def add(self, note: Note) -> Note:
        self.notes.append(note)
        return note

    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:
        self.scopes.append(scope)
        return [note for note in self.notes if note.scope == scope][:limit]

    async def erase(self, scope: str, note: str | None = None) -> int:
        self.scopes.append(scope)
        return 0


async def test_recall_cannot_leave_its_scope() -> None:
    """Whatever scope a tool names, it gets that of the person it works for; of the session where nobody is known."""
    shelf = Shelf()
    alice = CallContext("s1", fairlead.Principal("chat:alice"), shelf, time.time)
    nobody = CallContext("s2", None, shelf, time.time)
    assert alice.recall is not None
    assert nobody.recall is not None
    kept = await alice.recall.add(Note("mine", scope="chat:bob"))
    await nobody.recall.add(Note("ours", scope="chat:alice"))
    assert "chat:alice" == kept.scope
    assert ["mine"] == [note.text for note in await alice.recall.search("session:s2", "")]
    assert ["ours"] == [note.text for note in await nobody.recall.search("chat:alice", "")]
    await alice.recall.erase("chat:bob")
    assert ["chat:alice", "session:s2", "chat:alice"] == shelf.scopes


async def test_context_without_a_memory_or_a_watcher() -> None:
    """No recall is None, and progress that nobody watches goes nowhere."""
    context = CallContext("s", None, None, lambda: 5.0)
    await context.progress("x")
    assert (None, 5.0, "s") == (context.recall, context.now(), context.session)


async def test_progress_is_shown_up_to_200_characters() -> None:
    """A tool that talks too much is cut."""
    shown: list[str] = []
    await CallContext("s", None, None, time.time, shown.append).progress("x" * 300)
    assert ["x" * 200] == shown


async def test_person_is_known_to_the_tool() -> None:
    """Through the front door: the principal of the question is the one of the call."""
    seen: list[Any] = []

    def look(ctx: ToolContext) -> str:
        seen.append((ctx.session, ctx.principal))
        return "ok"

    bob = fairlead.Principal("app:bob")
    async with fairlead.open(providers=[ScriptedProvider([calls(("look", {})), "ok"])], tools=[look]) as app:
        await app.ask("hi", session="s", principal=bob)
    assert [("s", bob)] == seen
