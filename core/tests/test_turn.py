"""The turn, through the app's front door and on the in-memory journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import evolve

import fairlead
from fairlead import ModelAnswer, Text, ToolCall, ToolResult, errors, events, wire
from fairlead.config import Agent, Config, Limits
from fairlead.testing import CountingTool, RecordingObserver, ScriptedProvider, calls

if TYPE_CHECKING:
    from collections.abc import Sequence


def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


async def kinds(app: fairlead.App, session: str) -> list[str]:
    return [record.event.kind for record in await app.sessions.records(session)]


async def test_turn_without_tools_is_one_model_call() -> None:
    """A message in, an answer out, and the journal tells the story."""
    async with fairlead.open(providers=[ScriptedProvider(["Hello."])]) as app:
        reply = await app.ask("hi", session="s")
        assert reply.text == "Hello."
        assert await kinds(app, "s") == [
            "session_started",
            "message_accepted",
            "turn_started",
            "model_answered",
            "turn_ended",
        ]


async def test_tool_result_reaches_the_model_with_its_origin() -> None:
    """What a tool says is stamped as the tool's, whatever it claims."""
    provider = ScriptedProvider([calls(("add", {"a": 1, "b": 2})), "3"])
    async with fairlead.open(providers=[provider], tools=[add]) as app:
        reply = await app.ask("1 + 2?")
    result = provider.requests[1].history[-1]
    assert isinstance(result, ToolResult)
    assert ("3", "3") == (reply.text, result.text)
    assert ("tool", "add") == (result.parts[0].origin.kind, result.parts[0].origin.name)


async def test_history_is_a_view_that_does_not_change() -> None:
    """A provider may keep a request: later turns do not show in it."""
    provider = ScriptedProvider(["one", "two"])
    async with fairlead.open(providers=[provider]) as app:
        await app.ask("first", session="s")
        await app.ask("second", session="s")
    assert [1, 3] == [len(request.history) for request in provider.requests]
    assert ["first"] == [item.text for item in provider.requests[0].history]
    assert ["first", "one", "second"] == [item.text for item in provider.requests[1].history]


async def test_calls_of_one_answer_run_beside_each_other() -> None:
    """Two tools that wait for each other both finish."""
    here, there = trio.Event(), trio.Event()

    async def first() -> str:
        here.set()
        await there.wait()
        return "1"

    async def second() -> str:
        await here.wait()
        there.set()
        return "2"

    provider = ScriptedProvider([calls(("first", {}), ("second", {})), "both"])
    async with fairlead.open(providers=[provider], tools=[first, second]) as app:
        with trio.fail_after(5):
            assert "both" == (await app.ask("go")).text


async def test_tool_that_is_not_parallel_runs_alone() -> None:
    """Its neighbours have ended before it begins."""
    running: list[str] = []
    seen: list[list[str]] = []

    async def step(call: ToolCall) -> str:
        running.append(call.tool)
        seen.append(list(running))
        await trio.lowlevel.checkpoint()
        running.remove(call.tool)
        return "ok"

    class Alone(CountingTool):
        def specs(self) -> Sequence[fairlead.ToolSpec]:
            spec = super().specs()[0]
            return (evolve(spec, name="alone", parallel=False), evolve(spec, name="other"))

        async def call(self, call: ToolCall, context: fairlead.ToolContext) -> str:  # the contract's
            return await step(call)

    provider = ScriptedProvider([calls(("other", {}), ("alone", {}), ("other", {})), "ok"])
    async with fairlead.open(providers=[provider], tools=[Alone("alone")]) as app:
        await app.ask("go")
    assert ["alone"] in seen
    assert all(names == ["alone"] for names in seen if "alone" in names)


async def test_unknown_tool_is_denied_and_the_model_is_told_the_names() -> None:
    """Behaviour 18."""
    provider = ScriptedProvider([calls(("rm", {})), "sorry"])
    async with fairlead.open(providers=[provider], tools=[add]) as app:
        await app.ask("go")
    result = provider.requests[1].history[-1]
    assert isinstance(result, ToolResult)
    assert ("denied", "There is no tool 'rm'. The tools are: add") == (result.error, result.text)


@pytest.mark.parametrize("arguments", [{"a": "1", "b": 2}, {"a": 1}, {"a": 1, "b": 2, "c": 3}, "{a:", [1, 2], None])
async def test_bad_arguments_never_reach_the_tool(arguments: Any) -> None:
    """The model is shown what was wrong and may try again."""
    tool = CountingTool(
        "add",
        parameters={
            "type": "object",
            "required": ["a", "b"],
            "additionalProperties": False,
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        },
    )
    provider = ScriptedProvider([calls(("add", arguments)), calls(("add", {"a": 1, "b": 2})), "3"])
    async with fairlead.open(providers=[provider], tools=[tool]) as app:
        assert "3" == (await app.ask("go")).text
    shown = provider.requests[1].history[-1]
    assert isinstance(shown, ToolResult)
    assert "invalid" == shown.error
    assert shown.text.startswith("The call was not made: ")
    assert 1 == len(tool.calls)


async def test_model_that_stays_wrong_is_corrected_a_bounded_number_of_times() -> None:
    """`limits.corrections` tries, then the turn fails and every call has a result."""
    provider = ScriptedProvider([calls(("add", {}))], repeat=True)
    async with fairlead.open(Config(limits=Limits(corrections=2)), providers=[provider], tools=[add]) as app:
        with pytest.raises(errors.TurnFailed) as caught:
            await app.ask("go", session="s")
        assert "arguments" == caught.value.reason
        assert 3 == provider.answered
        assert 3 == (await kinds(app, "s")).count("tool_returned")


async def test_tool_error_is_words_for_the_model() -> None:
    """A `ToolError` is shown as it is."""

    def picky() -> str:
        raise errors.ToolError("the moon is not full")

    provider = ScriptedProvider([calls(("picky", {})), "later"])
    async with fairlead.open(providers=[provider], tools=[picky]) as app:
        await app.ask("go")
    result = provider.requests[1].history[-1]
    assert isinstance(result, ToolResult)
    assert ("failed", "the moon is not full") == (result.error, result.text)


@pytest.mark.parametrize("error", [ValueError("password=hunter2"), SystemExit(3), ExceptionGroup("g", [OSError("x")])])
async def test_tool_that_raises_is_a_result_and_leaks_nothing(error: BaseException) -> None:
    """The turn goes on; the model sees the kind of error only; the operator has a notice."""

    def broken() -> str:
        raise error

    provider = ScriptedProvider([calls(("broken", {})), "it failed"])
    observer = RecordingObserver()
    async with fairlead.open(providers=[provider], tools=[broken], observers=[observer]) as app:
        assert "it failed" == (await app.ask("go")).text
        notice = await observer.wait_for(events.NoticeRaised)
    result = provider.requests[1].history[-1]
    assert isinstance(result, ToolResult)
    assert "failed" == result.error
    assert "hunter2" not in result.text
    assert "tools/broken" == notice.subject


@pytest.mark.parametrize(("effect", "error"), [("read", "timeout"), ("idempotent", "timeout"), ("once", "unknown")])
async def test_late_tool_is_timed_out(effect: Any, error: str, autojump_clock: object) -> None:  # virtual time
    """A read times out; of a `once` tool nobody knows what happened, and the model is told so."""

    async def slow(arguments: object) -> str:  # it takes none
        await trio.sleep(1000)
        return "never"

    tool = CountingTool("slow", slow, effect=effect)
    provider = ScriptedProvider([calls(("slow", {})), "gave up"])
    async with fairlead.open(Config(limits=Limits(tool_seconds=5)), providers=[provider], tools=[tool]) as app:
        await app.ask("go")
    result = provider.requests[1].history[-1]
    assert isinstance(result, ToolResult)
    assert (error, "no result within 5 s") == (result.error, result.text)


async def test_long_result_is_cut_and_the_whole_is_kept() -> None:
    """The model sees the beginning and the end; the journal has all of it."""
    text = "".join(f"line {number}\n" for number in range(5000))

    def long() -> str:
        return text

    provider = ScriptedProvider([calls(("long", {})), "read it"])
    async with fairlead.open(Config(limits=Limits(result_chars=1000)), providers=[provider], tools=[long]) as app:
        await app.ask("go", session="s")
        result = provider.requests[1].history[-1]
        assert isinstance(result, ToolResult)
        assert len(result.text) < 1100
        assert result.text.startswith("line 0\n")
        assert result.text.endswith("line 4999\n")
        assert len(text) - 1000 == result.cut
        assert text == await app.sessions.full_text("s", result.call)


async def test_isolation_floor_is_kept() -> None:
    """A tool that asks for a container is refused; nothing runs on the host."""
    tool = CountingTool("shell", isolation="container")
    provider = ScriptedProvider([calls(("shell", {})), "no"])
    async with fairlead.open(providers=[provider], tools=[tool]) as app:
        await app.ask("go")
    result = provider.requests[1].history[-1]
    assert isinstance(result, ToolResult)
    assert "isolation" == result.error
    assert "take the isolation out of its table" in result.text
    assert [] == tool.calls


async def test_steps_are_limited() -> None:
    """A model that never stops calling tools is stopped."""
    provider = ScriptedProvider([calls(("add", {"a": 1, "b": 2}))], repeat=True)
    async with fairlead.open(Config(limits=Limits(steps=4)), providers=[provider], tools=[add]) as app:
        with pytest.raises(errors.TurnFailed) as caught:
            await app.ask("go")
    assert ("steps", 4) == (caught.value.reason, provider.answered)


async def test_tokens_are_limited() -> None:
    """The turn ends when what the provider counted reaches the limit."""
    provider = ScriptedProvider([calls(("add", {"a": 1, "b": 2}))], repeat=True)
    async with fairlead.open(Config(limits=Limits(tokens=40)), providers=[provider], tools=[add]) as app:
        with pytest.raises(errors.TurnFailed) as caught:
            await app.ask("go")
    assert ("tokens", 3) == (caught.value.reason, provider.answered)


async def test_time_is_limited(autojump_clock: object) -> None:  # virtual time
    """A provider that never answers costs `limits.seconds`, and the next turn of the session works."""
    provider = ScriptedProvider(["never"], delay=10_000.0)
    async with fairlead.open(Config(limits=Limits(seconds=30)), providers=[provider]) as app:
        with pytest.raises(errors.TurnFailed) as caught:
            await app.ask("go", session="s")
        assert "time" == caught.value.reason
        ended = (await app.sessions.records("s"))[-1].event
        assert isinstance(ended, events.TurnEnded)
        assert ("failed", "time") == (ended.outcome, ended.reason)


async def test_cancelled_ask_is_journalled_and_frees_the_lane(autojump_clock: object) -> None:  # virtual time
    """The caller's own scope cancels the turn; the session goes on."""

    def answer(request: fairlead.ModelRequest) -> Any:
        return "fine" if request.history[-1].text == "again" else never()

    async def never() -> str:
        await trio.sleep(36_000)
        return "never"

    async with fairlead.open(providers=[ScriptedProvider([answer], repeat=True)]) as app:
        with trio.move_on_after(1):
            await app.ask("go", session="s")
        ended = (await app.sessions.records("s"))[-1].event
        assert isinstance(ended, events.TurnEnded)
        assert "cancelled" == ended.outcome
        assert "fine" == (await app.ask("again", session="s")).text


async def test_waiting_question_that_is_cancelled_ends_as_cancelled(autojump_clock: object) -> None:  # virtual time
    """The turn that runs is not touched by one that gave up in the queue."""
    async with (
        fairlead.open(providers=[ScriptedProvider(["one", "two"], delay=10)]) as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(lambda: app.ask("first", session="s"))
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await app.ask("second", session="s")
        await trio.sleep(20)
        outcomes = [
            record.event.outcome
            for record in await app.sessions.records("s")
            if isinstance(record.event, events.TurnEnded)
        ]
        assert ["cancelled", "answered"] == outcomes


async def test_two_questions_at_once_are_two_turns_in_order() -> None:
    """Nothing is lost, interleaved or refused: the second waits."""
    async with fairlead.open(
        providers=[ScriptedProvider([lambda request: request.history[-1].text], repeat=True)]
    ) as app:
        answers: list[str] = []

        async def ask(text: str) -> None:
            answers.append((await app.ask(text, session="s")).text)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ask, str(number))
        assert sorted(answers) == [str(number) for number in range(10)]
        history = await app.sessions.history("s")
        assert [item.text for item in history[0::2]] == [item.text for item in history[1::2]]


async def test_cancel_ends_the_running_turn(autojump_clock: object) -> None:  # virtual time
    """`App.cancel` makes `ask` raise `TurnCancelled`; without a turn it says so."""
    async with fairlead.open(providers=[ScriptedProvider(["never"], delay=1000)]) as app:
        assert await app.cancel("s") is False
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(errors.TurnCancelled):
                    await app.ask("go", session="s")

            nursery.start_soon(ask)
            await trio.sleep(1)
            assert await app.cancel("s") is True


async def test_empty_answer_is_asked_for_again() -> None:
    """Behaviour 15: an empty answer has a defined outcome."""
    provider = ScriptedProvider([ModelAnswer((Text("  "),)), "better"])
    async with fairlead.open(providers=[provider]) as app:
        assert "better" == (await app.ask("hi")).text


@pytest.mark.parametrize("where", ["question", "answer", "arguments", "result", "error"])
async def test_lone_surrogates_are_replaced_wherever_they_come_from(where: str) -> None:
    """What no UTF-8 can say reaches neither the journal nor the next model call."""
    bad = "file\udcff"

    def look() -> str:
        if where == "error":
            raise errors.ToolError(bad)
        return bad if where == "result" else "fine"

    arguments = {"x": bad} if where == "arguments" else {}
    provider = ScriptedProvider([calls(("look", arguments)), bad if where == "answer" else "done"])
    async with fairlead.open(providers=[provider], tools=[look]) as app:
        await app.ask(bad if where == "question" else "hi", session="s")
        for record in await app.sessions.records("s"):
            wire.encode_event(record.event)


async def test_arguments_with_nan_are_invalid() -> None:
    """They are no JSON, though Python's reader takes them."""
    provider = ScriptedProvider([calls(("add", {"a": float("nan"), "b": 1})), "sorry"])
    async with fairlead.open(providers=[provider], tools=[add]) as app:
        await app.ask("hi")
    result = provider.requests[1].history[-1]
    assert isinstance(result, ToolResult)
    assert "invalid" == result.error


async def test_reader_that_fails_costs_only_the_showing() -> None:
    """An exception of `emit` is not the provider's fault: the answer comes, and is asked for once."""

    async def broken(delta: fairlead.Delta) -> None:
        raise OSError(delta.text)

    provider = ScriptedProvider(["a b c"], stream="words")
    async with fairlead.open(providers=[provider]) as app:
        assert "a b c" == (await app.ask("hi", emit=broken)).text
    assert 1 == provider.answered


async def test_session_has_one_agent() -> None:
    """Another one is not taken in silence."""
    config = Config(agents=(Agent("a"), Agent("b")))
    async with fairlead.open(config, providers=[ScriptedProvider(["x"], repeat=True)]) as app:
        await app.ask("hi", session="s", agent="b")
        await app.ask("hi", session="s", agent="b")
        with pytest.raises(errors.ConfigError, match="session 's' is held by agent 'b', not by 'a'"):
            await app.ask("hi", session="s", agent="a")


async def test_two_providers_of_one_name_are_refused() -> None:
    """Nobody could say which one is meant."""
    with pytest.raises(ValueError, match="two workers of one kind are named 'scripted'"):
        async with fairlead.open(providers=[ScriptedProvider(["x"]), ScriptedProvider(["y"])]):
            pass


async def test_function_says_what_its_signature_cannot() -> None:
    """`fairlead.tool` gives a spec its effect, and leaves a function that can be called."""

    @fairlead.tool(effect="read", name="twice", timeout=3.0, parallel=False)
    def double(number: int) -> int:
        """Double it."""
        return 2 * number

    async with fairlead.open(providers=[ScriptedProvider(["x"])], tools=[double]) as app:
        spec = app.tools[0]
    assert ("twice", "Double it.", "read", 3.0, False) == (
        spec.name,
        spec.description,
        spec.effect,
        spec.timeout,
        spec.parallel,
    )
    assert 8 == double(4)
