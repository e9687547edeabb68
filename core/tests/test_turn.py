"""The turn, through the app's front door and on the in-memory journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import evolve

import fairlead
from fairlead import Message, ModelAnswer, Review, Text, ToolCall, ToolResult, Verdict, errors, events
from fairlead.config import Agent, Config, Limits, ModelRef
from fairlead.testing import CountingTool, FakePolicy, Interrupted, RecordingObserver, ScriptedProvider, calls

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
    assert "fairlead doctor" in result.text
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


# -- models


def chain(*names: str) -> Config:
    return Config(models={"default": tuple(ModelRef(name, "script") for name in names)})


async def test_fallback_goes_on_to_the_next_model_and_is_journalled() -> None:
    """An error before the first token hands the question to the next link."""
    first = ScriptedProvider([errors.Overloaded("busy", provider="a")], name="a")
    second = ScriptedProvider(["from b"], name="b")
    async with fairlead.open(chain("a", "b"), providers=[first, second]) as app:
        assert "from b" == (await app.ask("hi", session="s")).text
        failures = [r.event for r in await app.sessions.records("s") if isinstance(r.event, events.ModelFailed)]
    assert [("a", "Overloaded", "busy")] == [(event.provider, event.error, event.detail) for event in failures]


async def test_provider_with_a_bug_fails_only_its_link() -> None:
    """Whatever a provider raises, the next one is asked."""
    first = ScriptedProvider(
        [RuntimeError("bug"), ExceptionGroup("g", [errors.RateLimited("slow")])], name="a", repeat=True
    )
    second = ScriptedProvider(["from b"], name="b", repeat=True)
    async with fairlead.open(chain("a", "b"), providers=[first, second]) as app:
        assert "from b" == (await app.ask("hi", session="s")).text
        assert "from b" == (await app.ask("hi", session="s")).text
        failures = [r.event for r in await app.sessions.records("s") if isinstance(r.event, events.ModelFailed)]
    assert ["RuntimeError", "RateLimited"] == [event.error for event in failures]


async def test_explicit_model_has_no_fallback() -> None:
    """``provider/model`` means that model and no other."""
    first = ScriptedProvider([errors.Overloaded("busy")], name="a")
    second = ScriptedProvider(["from b"], name="b")
    async with fairlead.open(chain("a", "b"), providers=[first, second]) as app:
        with pytest.raises(errors.TurnFailed, match="busy"):
            await app.ask("hi", model="a/script")
    assert 0 == second.answered


async def test_broken_stream_is_asked_again_without_showing_it_twice() -> None:
    """After the first token no other model is asked; the part is journalled and shown once."""
    first = ScriptedProvider([Interrupted("The answer ", errors.BrokenStream("cut")), "The answer is 4."], name="a")
    second = ScriptedProvider(["from b"], name="b")
    shown: list[str] = []

    async def emit(delta: fairlead.Delta) -> None:
        shown.append(delta.text)

    async with fairlead.open(chain("a", "b"), providers=[first, second]) as app:
        reply = await app.ask("2 + 2?", session="s", emit=emit)
        failures = [r.event for r in await app.sessions.records("s") if isinstance(r.event, events.ModelFailed)]
    assert ("The answer is 4.", "The answer is 4.") == (reply.text, "".join(shown))
    assert ["The answer "] == [event.partial for event in failures]
    assert 0 == second.answered


async def test_no_model_is_a_clear_failure() -> None:
    """An app without providers opens; a question says what is missing."""
    async with fairlead.open() as app:
        with pytest.raises(errors.TurnFailed, match="no provider is available"):
            await app.ask("hi")


async def test_unknown_model_names_the_known_ones() -> None:
    """The message says what could have been typed."""
    async with fairlead.open(providers=[ScriptedProvider(["x"])]) as app:
        with pytest.raises(
            errors.TurnFailed, match=r"no model is named 'gpt'; expected one of default, scripted/\.\.\."
        ):
            await app.ask("hi", model="gpt")


async def test_cost_is_reckoned_from_the_list_of_prices() -> None:
    """Tokens times price, summed over the calls of a turn."""
    priced = fairlead.ModelInfo("script", input_price=2.0, output_price=10.0)
    provider = ScriptedProvider([calls(("add", {"a": 1, "b": 2})), "3"], models=[priced])
    async with fairlead.open(providers=[provider], tools=[add]) as app:
        reply = await app.ask("hi")
    assert (20, 10) == (reply.usage.input_tokens, reply.usage.output_tokens)
    assert reply.usage.cost == pytest.approx(2 * (10 * 2.0 + 5 * 10.0) / 1e6)


# -- policy on the path


async def test_refused_message_never_reaches_a_model() -> None:
    """The turn ends before it starts, with a notice that names the rule."""
    policy = FakePolicy(
        lambda review: [Verdict("deny", "no shouting", reason="please be quiet")], boundaries=["message_in"]
    )
    provider = ScriptedProvider(["never"])
    async with fairlead.open(providers=[provider], policies=[policy]) as app:
        with pytest.raises(errors.TurnRefused, match="no shouting") as caught:
            await app.ask("HI", session="s")
        assert "app:no shouting" == caught.value.rule
        assert [] == list(await app.sessions.history("s"))
    assert 0 == provider.answered


async def test_revised_message_is_what_the_model_sees() -> None:
    """The journal keeps both: what was said and what was passed on."""

    def redact(review: Review) -> list[Verdict]:
        assert isinstance(review.subject, Message)
        text = review.subject.text.replace("1234", "[card]")
        return [Verdict("revise", "redact", revised=evolve(review.subject, parts=(Text(text),)))]

    provider = ScriptedProvider(["ok"])
    policy = FakePolicy(redact, boundaries=["message_in"])
    async with fairlead.open(providers=[provider], policies=[policy]) as app:
        await app.ask("my card is 1234", session="s")
        accepted = next(r.event for r in await app.sessions.records("s") if isinstance(r.event, events.MessageAccepted))
    assert "my card is [card]" == provider.requests[0].history[-1].text
    assert "my card is 1234" == accepted.message.text


async def test_answer_that_is_denied_is_not_said() -> None:
    """The sender gets a notice; nothing of the answer was streamed before."""
    policy = FakePolicy(lambda review: [Verdict("deny", "secrets")], boundaries=["message_out"])
    shown: list[str] = []

    async def emit(delta: fairlead.Delta) -> None:
        shown.append(delta.text)

    async with fairlead.open(providers=[ScriptedProvider(["the password is x"])], policies=[policy]) as app:
        with pytest.raises(errors.TurnRefused, match="Denied by rule 'secrets'"):
            await app.ask("tell me", emit=emit)
    assert [] == shown


async def test_revised_answer_is_what_is_said_and_remembered() -> None:
    """The history has what the person really got."""

    def polish(review: Review) -> list[Verdict]:
        assert isinstance(review.subject, Message)
        return [Verdict("revise", "polish", revised=evolve(review.subject, parts=(Text("polished"),)))]

    policy = FakePolicy(polish, boundaries=["message_out"])
    async with fairlead.open(providers=[ScriptedProvider(["rough"])], policies=[policy]) as app:
        assert "polished" == (await app.ask("hi", session="s")).text
        assert ["hi", "polished"] == [item.text for item in await app.sessions.history("s")]


async def test_denied_call_names_the_rule_to_the_model() -> None:
    """The call has a result, the tool was not run, the decision is in the journal."""
    policy = FakePolicy(lambda review: [Verdict("deny", "no sums", layer="agent")], boundaries=["tool_call"])
    provider = ScriptedProvider([calls(("add", {"a": 1, "b": 2})), "not allowed"])
    async with fairlead.open(providers=[provider], tools=[add], policies=[policy]) as app:
        await app.ask("go", session="s")
        decided = next(r.event for r in await app.sessions.records("s") if isinstance(r.event, events.Decided))
    assert ("deny", "no sums", "agent") == (decided.effect, decided.rule, decided.layer)
    result = provider.requests[1].history[-1]
    assert isinstance(result, ToolResult)
    assert ("denied", "Denied by rule 'no sums' of layer 'agent'.") == (result.error, result.text)


async def test_revised_call_is_what_runs() -> None:
    """Revised arguments are validated again before they run."""

    def clamp(review: Review) -> list[Verdict]:
        assert isinstance(review.subject, ToolCall)
        return [Verdict("revise", "clamp", revised=evolve(review.subject, arguments={"a": 1, "b": 1}))]

    policy = FakePolicy(clamp, boundaries=["tool_call"])
    provider = ScriptedProvider([calls(("add", {"a": 100, "b": 200})), "2"])
    async with fairlead.open(providers=[provider], tools=[add], policies=[policy]) as app:
        await app.ask("go")
    assert "2" == provider.requests[1].history[-1].text


async def test_result_that_is_denied_is_not_shown_to_the_model() -> None:
    """A policy can keep a tool's words from the model."""
    policy = FakePolicy(lambda review: [Verdict("deny", "leak")], boundaries=["tool_result"])
    provider = ScriptedProvider([calls(("add", {"a": 1, "b": 2})), "ok"])
    async with fairlead.open(providers=[provider], tools=[add], policies=[policy]) as app:
        await app.ask("go")
    result = provider.requests[1].history[-1]
    assert isinstance(result, ToolResult)
    assert ("denied", "Denied by rule 'leak' of layer 'app'.") == (result.error, result.text)


async def test_ask_without_an_approver_is_a_denial() -> None:
    """It says why, so that nobody waits for an approval that cannot come."""
    policy = FakePolicy(lambda review: [Verdict("ask", "careful")], boundaries=["tool_call"])
    provider = ScriptedProvider([calls(("add", {"a": 1, "b": 2})), "ok"])
    async with fairlead.open(providers=[provider], tools=[add], policies=[policy]) as app:
        await app.ask("go")
    assert "asks for an approval" in provider.requests[1].history[-1].text


async def test_agent_sees_only_its_tools() -> None:
    """A tool that is not the agent's does not exist for it."""
    config = Config(agents=(Agent("main", tools=("ad*",)), Agent("idle", tools=())))
    provider = ScriptedProvider(["a", "b", calls(("add", {"a": 1, "b": 1})), "c"])
    async with fairlead.open(config, providers=[provider], tools=[add]) as app:
        await app.ask("x")
        await app.ask("x", agent="idle")
        await app.ask("x", agent="idle")
    assert [("add",), (), (), ()] == [tuple(spec.name for spec in request.tools) for request in provider.requests]
    assert "denied" == provider.requests[3].history[-1].error  # type: ignore[union-attr]  # a ToolResult
