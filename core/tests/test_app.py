"""The app as a host sees it: opening, closing, asking, and two writers on one journal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

import fairlead
from fairlead import (
    Address,
    App,
    Finding,
    Image,
    Message,
    ModelInfo,
    Principal,
    Text,
    ToolCall,
    ToolResult,
    Verdict,
    errors,
    events,
)
from fairlead._fold import fold
from fairlead._journal import VolatileMemory
from fairlead.config import Agent, Config, ModelRef, PluginConfig
from fairlead.testing import CountingTool, Deltas, FakePolicy, RecordingObserver, ScriptedProvider, calls


def echo(name: str = "scripted", **options: Any) -> ScriptedProvider:
    return ScriptedProvider([lambda request: f"re: {request.history[-1].text}"], repeat=True, name=name, **options)


class Door(CountingTool):
    """A worker that tells when it is opened and closed, and may fail at either."""

    def __init__(self, name: str, log: list[str], *, opens: Any = None, closes: Any = None) -> None:
        super().__init__(name)
        self._log, self._opens, self._closes = log, opens, closes

    async def open(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._opens is not None:
            raise self._opens
        self._log.append(f"open {self.name}")

    async def close(self) -> None:
        self._log.append(f"close {self.name}")
        if self._closes == "hang":
            await trio.sleep_forever()
        if self._closes is not None:
            raise self._closes


# -- opening and closing


async def test_two_apps_share_nothing() -> None:
    """Different plugins, one process, at the same time."""

    def one() -> str:
        return "1"

    def two() -> str:
        return "2"

    async with (
        fairlead.open(providers=[echo("a")], tools=[one]) as first,
        fairlead.open(providers=[echo("b")], tools=[two]) as second,
    ):
        assert "re: hi" == (await first.ask("hi", session="s")).text
        assert [] == list(await second.sessions.list())
        assert (["one"], ["two"]) == ([spec.name for spec in first.tools], [spec.name for spec in second.tools])
        assert (["a"], ["b"]) == (list(await first.models()), list(await second.models()))


async def test_workers_are_closed_in_reverse_whatever_one_raises(autojump_clock: object) -> None:
    """A close that fails or hangs is not the others' concern."""
    log: list[str] = []
    tools = [Door("a", log), Door("b", log, closes=ValueError("stuck")), Door("c", log, closes="hang"), Door("d", log)]
    async with fairlead.open(tools=tools) as app:
        began = trio.current_time()
    assert ["open a", "open b", "open c", "open d", "close d", "close c", "close b", "close a"] == log
    assert 5 == trio.current_time() - began
    assert ["close raised ValueError: stuck"] == [report.error.problem for report in app.reports if report.error]


async def test_own_worker_that_does_not_open_raises_and_the_others_are_closed() -> None:
    """The host's own mistake is no report; the exception comes out as it is."""
    log: list[str] = []
    with pytest.raises(ZeroDivisionError, match="no door"):
        async with fairlead.open(tools=[Door("a", log), Door("b", log, opens=ZeroDivisionError("no door"))]):
            raise AssertionError("never reached")
    assert ["open a", "close a"] == log


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), ExceptionGroup("own", [ValueError("y")])])
async def test_exception_of_the_body_comes_out_bare(error: BaseException) -> None:
    """No nursery of ours wraps it, and everything is closed."""
    log: list[str] = []
    with pytest.raises(type(error)) as caught:
        async with fairlead.open(tools=[Door("a", log)]):
            raise error
    assert error is caught.value
    assert ["open a", "close a"] == log


async def test_cancelled_body_closes_everything(autojump_clock: object) -> None:
    """Cancellation passes through; nothing else comes out."""
    log: list[str] = []
    with trio.move_on_after(1) as scope:
        async with fairlead.open(providers=[echo(delay=100)], tools=[Door("a", log)]) as app:
            await app.ask("hi")
    assert scope.cancelled_caught
    assert ["open a", "close a"] == log


async def test_bad_tool_of_the_host_is_refused_at_once() -> None:
    """Before anything runs, and bare."""
    with pytest.raises(errors.PluginLoadError, match="already has a tool of that name"):
        async with fairlead.open(tools=[CountingTool("x"), CountingTool("x")]):
            raise AssertionError("never reached")


POLICY = """
from fairlead.hookspecs import hookimpl
from fairlead import Policy
class Broken(Policy):
    boundaries = frozenset()
    async def open(self):
        raise OSError("no rules")
@hookimpl
def fairlead_policies(settings):
    {act}
"""


@pytest.mark.parametrize("act", ["raise OSError('no rules')", "return [Broken()]", None])
async def test_policy_that_is_missing_denies_everything(site: Any, act: str | None) -> None:
    """It fails to load, fails to open, or is not installed: nothing passes that it might have denied."""
    if act is not None:
        site.install(
            "guard", {"fairlead.policies": {"guard": "guard_plugin"}}, {"guard_plugin.py": POLICY.format(act=act)}
        )
    config = Config(plugins=(PluginConfig("policies", "guard", isolation="host"),))
    provider = echo()
    async with fairlead.open(config, providers=[provider], tools=[CountingTool("act")]) as app:
        with pytest.raises(errors.TurnRefused, match="the policy 'guard' could not be loaded"):
            await app.ask("hi")
        assert "deny" == (await app.explain(ToolCall("c", "act", {}))).verdict.effect
        (finding,) = [finding for finding in await app.check() if finding.subject == "policies/guard"]
    assert not finding.ok
    assert [] == list(provider.requests)


MEMORY = """
from fairlead.hookspecs import hookimpl
from fairlead import Memory
class Empty(Memory):
    pass
@hookimpl
def fairlead_memories(settings):
    return [Empty()]
"""


@pytest.mark.parametrize("installed", [("store",), ()])
async def test_memory_without_a_journal_does_not_open(site: Any, installed: tuple[str, ...]) -> None:
    """What the configuration wants kept is never kept in memory only."""
    for name in installed:
        site.install("empty", {"fairlead.memories": {name: "empty_plugin"}}, {"empty_plugin.py": MEMORY})
    config = Config(plugins=(PluginConfig("memories", "store", isolation="host"),))
    with pytest.raises(errors.JournalUnavailable, match="names memories, but there is no journal") as told:
        async with fairlead.open(config):
            raise AssertionError("never reached")
    assert "fairlead doctor" == told.value.next_step


async def test_path_of_a_configuration(tmp_path: Path) -> None:
    """A file is read; one that is not there is a clear error."""
    with pytest.raises(errors.ConfigError):
        async with fairlead.open(tmp_path / "nothing.toml"):
            raise AssertionError("never reached")


# -- looking


class Ill(CountingTool):
    def __init__(self, name: str, outcome: Any) -> None:
        super().__init__(name)
        self._finding = outcome

    async def check(self) -> Sequence[Finding]:
        if self._finding is None:
            await trio.sleep_forever()
        if isinstance(self._finding, Exception):
            raise self._finding
        return (self._finding,)


async def test_check_asks_every_worker(autojump_clock: object) -> None:
    """One that raises or hangs is a finding, and the others are asked all the same."""
    well = Finding("c", ok=True, detail="fine")
    tools = [Ill("a", OSError("secret")), Ill("b", None), Ill("c", well)]
    async with fairlead.open(tools=tools) as app:
        found = await app.check()
    assert (
        Finding("a", ok=False, detail="its check raised OSError"),
        Finding("b", ok=False, detail="its check took over 10 s"),
        well,
    ) == found


async def test_explain_gives_the_verdict_and_all_that_was_said() -> None:
    """The rule that decides, for the person and the agent that are named."""

    def decide(review: fairlead.Review) -> Verdict | None:
        who = review.principal.id if review.principal else "nobody"
        return Verdict("deny" if who == "app:eve" else "allow", f"{who} at {review.agent}")

    config = Config(agents=(Agent("main"), Agent("helper")))
    async with fairlead.open(config, tools=[CountingTool("act")], policies=[FakePolicy(decide)]) as app:
        call = ToolCall("c", "act", {})
        mine = await app.explain(call)
        eve = await app.explain(call, agent="helper", principal=Principal("app:eve"), address=Address("chat"))
    assert ("allow", "nobody at main") == (mine.verdict.effect, mine.verdict.rule)
    assert ("deny", ["app:eve at helper"]) == (eve.verdict.effect, [verdict.rule for verdict in eve.verdicts])


async def test_models_of_each_provider() -> None:
    """One that cannot say offers none."""

    class Silent(ScriptedProvider):
        async def models(self) -> Sequence[ModelInfo]:
            raise errors.ConnectionFailed("no network", provider=self.name)

    infos = (ModelInfo("small"), ModelInfo("large", window=10))
    config = Config(models={"default": (ModelRef("good", "small"),)})
    async with fairlead.open(
        config, providers=[ScriptedProvider(name="good", models=infos), Silent(name="bad")]
    ) as app:
        assert {"good": infos, "bad": ()} == await app.models()


# -- asking


async def test_unknown_agent_names_the_known_ones() -> None:
    """Nothing is journalled for it."""
    config = Config(agents=(Agent("main"), Agent("helper")))
    async with fairlead.open(config, providers=[echo()]) as app:
        with pytest.raises(errors.ConfigError, match="there is no agent 'x'; the agents are: main, helper"):
            await app.ask("hi", agent="x")
        assert [] == list(await app.sessions.list())
        await app.ask("hi", session="s", agent="helper")
        (started,) = [r.event for r in await app.sessions.records("s") if isinstance(r.event, events.SessionStarted)]
    assert "helper" == started.agent


async def test_parts_reach_the_model_with_their_origin() -> None:
    """Words and a picture, stamped as the person's, whatever they claimed."""
    provider = ScriptedProvider(["A boat."])
    alice = Principal("app:alice", "Alice")
    picture = Image("image/png", data=b"\x89PNG", origin=fairlead.Origin("tool", "liar"))
    async with fairlead.open(providers=[provider]) as app:
        await app.ask([Text("What is this?"), picture], principal=alice)
    (message,) = provider.requests[0].history
    assert isinstance(message, Message)
    text, image = message.parts
    assert isinstance(image, Image)
    assert (b"\x89PNG", alice) == (image.data, message.author)
    assert (
        ("host", "app:alice")
        == (image.origin.kind, image.origin.principal)
        == (text.origin.kind, text.origin.principal)
    )


async def test_pieces_come_in_their_order_and_before_the_answer() -> None:
    """Joined they are the text."""
    deltas = Deltas()
    async with fairlead.open(providers=[ScriptedProvider(["one two three"], stream="words")]) as app:
        reply = await app.ask("count", emit=deltas)
    assert ["one ", "two ", "three"] == [delta.text for delta in deltas.all]
    assert reply.text == deltas.text


async def test_reader_that_fails_misses_only_the_pieces() -> None:
    """`emit` is the caller's own code: the answer comes all the same."""

    async def emit(delta: fairlead.Delta) -> None:
        raise OSError("closed")

    async with fairlead.open(providers=[echo()]) as app:
        assert "re: hi" == (await app.ask("hi", session="s", emit=emit)).text
        assert "re: again" == (await app.ask("again", session="s")).text


async def test_observers_see_every_record_in_order() -> None:
    """Also what was only noted and written with the next append."""
    observer = RecordingObserver()
    async with fairlead.open(providers=[echo()], observers=[observer]) as app:
        await app.ask("hi", session="s")
        await observer.wait_for(events.TurnEnded)
        assert list(await app.sessions.records("s")) == [record for record in observer.records if record.version]


# -- two writers, and what a dead one left


class Shared(VolatileMemory):
    """One journal for several apps; each append lets the others go first."""

    def __init__(self) -> None:
        super().__init__()
        assert self.journal is not None
        write = self.journal.append

        async def append(*args: Any, **options: Any) -> int:
            await trio.lowlevel.checkpoint()
            return await write(*args, **options)

        self.journal.append = append  # type: ignore[method-assign]  # the seam between two processes


def well_formed(history: Sequence[Message | ToolResult]) -> bool:
    asked = [call.id for item in history if isinstance(item, Message) for call in item.calls]
    return sorted(asked) == sorted(item.call for item in history if isinstance(item, ToolResult))


@pytest.mark.parametrize("tools", [(), ("act",)])
@pytest.mark.parametrize("offset", [0.0, 0.5, 1.0, 1.5])
async def test_two_apps_on_one_session_lose_nothing(
    tools: tuple[str, ...], offset: float, autojump_clock: object
) -> None:
    """Each message is answered once, the history is whole, whoever is first."""
    memory = Shared()
    replies: dict[str, str] = {}

    def provider() -> ScriptedProvider:
        def say(request: fairlead.ModelRequest) -> Any:
            last = request.history[-1]
            if tools and isinstance(last, Message):
                return calls(*((name, {}) for name in tools))
            questions = [item.text for item in request.history if isinstance(item, Message) and item.role == "user"]
            return f"re: {questions[-1]}"

        return ScriptedProvider([say], repeat=True, delay=1.0)

    async def ask(app: App, text: str) -> None:
        replies[text] = (await app.ask(text, session="s")).text

    async with (
        fairlead.open(providers=[provider()], tools=[CountingTool("act", effect="read")], memories=[memory]) as first,
        fairlead.open(providers=[provider()], tools=[CountingTool("act", effect="read")], memories=[memory]) as second,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, first, "one")
            await trio.sleep(offset)
            nursery.start_soon(ask, second, "two")
        state = fold("s", await first.sessions.records("s"))
        ended = [r.event for r in await first.sessions.records("s") if isinstance(r.event, events.TurnEnded)]
    assert {"one": "re: one", "two": "re: two"} == replies
    assert not state.pending
    assert well_formed(state.items)
    questions = [item.text for item in state.items if isinstance(item, Message) and item.role == "user"]
    assert ["one", "two"] == sorted(questions)
    assert ["answered"] * 2 == [event.outcome for event in ended]


async def test_question_after_a_crash_finds_a_finished_turn(autojump_clock: object) -> None:
    """What a dead process left in the session comes to its end first; the new question is seen by the model."""
    memory = VolatileMemory()

    async def hang(arguments: object) -> str:
        await trio.sleep_forever()

    with trio.move_on_after(1):
        async with fairlead.open(
            providers=[ScriptedProvider([calls(("act", {}))])],
            tools=[CountingTool("act", hang, effect="once")],
            memories=[memory],
        ) as app:
            app._desk.stopping = True  # noqa: SLF001  # killed: no last words are journalled
            await app.ask("old", session="s")
    provider = ScriptedProvider(["I cannot say.", "new it is"])
    async with fairlead.open(
        providers=[provider], tools=[CountingTool("act", effect="once")], memories=[memory]
    ) as app:
        assert "new it is" == (await app.ask("new", session="s")).text
        state = fold("s", await app.sessions.records("s"))
    assert ["old", "I cannot say.", "new", "new it is"] == [
        item.text for item in state.items if isinstance(item, Message) and item.text
    ]
    assert ["unknown"] == [item.error for item in state.items if isinstance(item, ToolResult)]
    assert not state.pending


def test_without_trio_the_error_says_so() -> None:
    """The usual first mistake: ``asyncio.run`` instead of ``trio.run``."""

    async def main() -> None:
        async with fairlead.open():
            raise AssertionError("it opened")

    with pytest.raises(RuntimeError, match=r"runs on trio.*trio\.run\(main\).*start_async"):
        main().send(None)


async def test_closed_app_answers_nothing() -> None:
    """What was closed must not look alive."""
    async with fairlead.open(providers=[ScriptedProvider(["x"])]) as app:
        pass
    with pytest.raises(RuntimeError, match="the app is closed"):
        await app.ask("hi")
