"""`fairlead.embed` for threads and sync code."""

from __future__ import annotations

import contextvars
import gc
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from fairlead import (
    Address,
    Capabilities,
    Channel,
    Delivery,
    Delta,
    Inbound,
    Inbox,
    ModelAnswer,
    Outbound,
    Principal,
    Text,
    ToolContext,
    embed,
    errors,
    events,
)
from fairlead.config import Config, Limits
from fairlead.testing import CountingTool, RecordingObserver, ScriptedProvider, calls

LIMIT = 10.0
"""Seconds for what takes milliseconds."""
SOON = Config(limits=Limits(grace_seconds=0.05))


def echo(**options: Any) -> ScriptedProvider:
    return ScriptedProvider([lambda request: f"re: {request.history[-1].text}"], repeat=True, **options)


class Hanging(ScriptedProvider):
    """A model that says one word and then nothing more; `began` tells a thread that it was asked."""

    def __init__(self) -> None:
        super().__init__([], name="hanging")
        self.began, self.cancelled = threading.Semaphore(0), threading.Event()

    async def generate(self, request: Any, emit: Any) -> ModelAnswer:
        await emit(Delta("Well"))
        self.began.release()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()


class Background:
    """A function in a thread; `outcome` gives what it gave or raised."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._found: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._function()
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            self._found = error

    def outcome(self) -> Any:
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()
        return self._found


def outcomes(app: embed.App, session: str) -> list[str]:
    """How the turns of a session ended."""
    records = app.call(app.inner.sessions.records, session)
    return [record.event.outcome for record in records if isinstance(record.event, events.TurnEnded)]


def app_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fairlead"]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No thread of an app outlives its block."""
    yield
    for thread in app_threads():
        thread.join(LIMIT)
    assert [] == app_threads()


# -- asking


def test_question_and_answer() -> None:
    """The whole of it in three lines; a session goes on."""
    with embed.start(providers=[echo()]) as app:
        assert "re: Hello." == app.ask("Hello.", session="ann").text
        assert "re: Again." == app.ask("Again.", session="ann").text
        history = app.call(app.inner.sessions.history, "ann")
    assert ["Hello.", "re: Hello.", "Again.", "re: Again."] == [item.text for item in history]


@attrs.frozen
class City:
    name: str
    people: int


def test_typed_answer() -> None:
    """`returns` is what it is in `fairlead.open`."""
    with embed.start(providers=[ScriptedProvider(['{"name": "Lisbon", "people": 575739}'])]) as app:
        city = app.ask("The largest city?", returns=City)
    assert City("Lisbon", 575739) == city


def test_errors_cross_with_their_type_and_both_halves_of_the_traceback() -> None:
    """What went wrong inside, and who asked, stand in one traceback, without a group around it."""
    with embed.start(providers=[echo()]) as app, pytest.raises(errors.ConfigError, match="no agent 'nobody'") as told:
        app.ask("Hello?", agent="nobody")
    names = [frame.name for frame in traceback.extract_tb(told.tb)]
    assert "test_errors_cross_with_their_type_and_both_halves_of_the_traceback" == names[0]
    assert "_agent_name" == names[-1]
    assert len(names) < 12
    assert told.value.__cause__ is None
    assert told.value.__context__ is None


def test_failed_turn_is_the_error_that_fairlead_open_raises() -> None:
    """With its fields."""
    failing = ScriptedProvider([errors.BadRequest("nonsense")])
    with embed.start(providers=[failing]) as app, pytest.raises(errors.TurnFailed) as told:
        app.ask("Hello?", session="ann")
    assert ("provider", "ann") == (told.value.reason, told.value.session)


def test_timeout_cancels_the_turn() -> None:
    """When the error comes, the journal has the end."""
    with embed.start(providers=[Hanging()]) as app:
        with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
            app.ask("Hello?", session="ann", timeout=0.05)
        assert ["cancelled"] == outcomes(app, "ann")


def test_ctrl_c_in_the_wait_cancels_the_turn() -> None:
    """The signal is the host's, whose thread it reaches; the app goes on."""
    model = Hanging()

    def interrupt() -> None:
        model.began.acquire(timeout=LIMIT)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job has not
    try:
        with embed.start(providers=[model]) as app:
            interrupting = Background(interrupt)
            with pytest.raises(KeyboardInterrupt):
                app.ask("Hello?", session="ann")
            interrupting.outcome()
            assert ["cancelled"] == outcomes(app, "ann")
    finally:
        signal.signal(signal.SIGINT, before)


def test_handler_of_the_host_that_raises_in_the_wait_cancels_the_turn() -> None:
    """As an alarm does; what it raised comes out as it is."""
    model = Hanging()

    def ring(number: int, frame: object) -> None:
        raise TimeoutError("the alarm")

    def alarm() -> None:
        model.began.acquire(timeout=LIMIT)
        os.kill(os.getpid(), signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with embed.start(providers=[model]) as app:
            ringing = Background(alarm)
            with pytest.raises(TimeoutError, match="the alarm"):
                app.ask("Hello?", session="ann")
            ringing.outcome()
            assert ["cancelled"] == outcomes(app, "ann")
    finally:
        signal.signal(signal.SIGALRM, before)


def test_signal_handlers_are_left_alone() -> None:
    """Before, while and after an app runs."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    with embed.start(providers=[echo()]) as app:
        app.ask("Hello.")
        assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]


def test_fifty_threads_at_once() -> None:
    """Turns of one session stand in line, in all of them together."""
    with embed.start(providers=[echo()]) as app:
        asked = [Background(partial(app.ask, f"{number}", session=f"s{number % 5}")) for number in range(50)]
        assert [f"re: {number}" for number in range(50)] == [each.outcome().text for each in asked]
        assert [10] * 5 == [len(outcomes(app, f"s{number}")) for number in range(5)]


def test_context_variables_of_the_caller_go_along() -> None:
    """A tool of the host sees what the request was about."""
    tenant = contextvars.ContextVar("tenant", default="nobody")
    seen = []

    def look() -> str:
        """Look."""
        seen.append(tenant.get())
        return "seen"

    with embed.start(providers=[ScriptedProvider([calls(("look", {})), "Done."])], tools=[look]) as app:
        tenant.set("acme")
        app.ask("Look!")
    assert ["acme"] == seen


# -- streaming


def test_stream_is_the_answer_in_pieces() -> None:
    """And then the whole, with what it used."""
    with embed.start(providers=[echo(stream="words")]) as app:
        stream = app.stream("one two three", session="ann")
        before = stream.reply
        assert ["re: ", "one ", "two ", "three"] == [piece.text for piece in stream]
    assert before is None
    assert stream.reply is not None
    assert ("re: one two three", "ann") == (stream.reply.text, stream.reply.session)


def test_long_stream_waits_for_a_slow_reader() -> None:
    """The model is at most 64 pieces ahead, and nothing is lost."""
    words = " ".join(map(str, range(1000)))
    with embed.start(providers=[ScriptedProvider([words], stream="words")]) as app:
        assert words == "".join(piece.text for piece in app.stream("Count."))


def test_leaving_the_loop_cancels_the_turn() -> None:
    """Nothing needs to be closed by hand."""
    model = Hanging()
    with embed.start(providers=[model]) as app:
        for piece in app.stream("Hello?", session="ann"):
            assert "Well" == piece.text
            break
        assert model.cancelled.wait(LIMIT)
        app.call(trio.testing.wait_all_tasks_blocked)
        assert ["cancelled"] == outcomes(app, "ann")


def test_error_of_a_streamed_turn_comes_out_of_the_loop() -> None:
    """With its type; nothing around it."""
    failing = ScriptedProvider([errors.BadRequest("nonsense")])
    with embed.start(providers=[failing]) as app, pytest.raises(errors.TurnFailed) as told:
        list(app.stream("Hello?"))
    assert told.value.__context__ is None


def test_stream_that_is_never_read_asks_nobody() -> None:
    """The turn begins with the first piece."""
    model = echo()
    with embed.start(providers=[model]) as app:
        app.stream("Hello?")
    assert [] == list(model.requests)


# -- starting and closing


def test_error_of_opening_is_raised_as_it_is() -> None:
    """By whoever starts it."""

    class Shut(CountingTool):
        async def open(self) -> None:
            raise ZeroDivisionError("no door")

    with pytest.raises(ZeroDivisionError, match="no door"):
        embed.start(tools=[Shut()])


def test_unknown_word_is_refused_where_it_is_written() -> None:
    """As by any function."""
    with pytest.raises(TypeError, match="memory"):
        embed.start(memory=[])  # type: ignore[call-arg]  # what is tested


def test_end_of_the_block_waits_for_what_runs() -> None:
    """A turn that another thread has asked for comes to its end."""
    entered, leave = threading.Event(), threading.Event()

    def slow() -> str:
        """Wait."""
        entered.set()
        leave.wait(LIMIT)
        return "late"

    model = ScriptedProvider([calls(("slow", {})), "Done."])
    with embed.start(providers=[model], tools=[slow]) as app:
        asked = Background(lambda: app.ask("Go."))
        entered.wait(LIMIT)
        closing = Background(app.close)
        leave.set()
        assert closing.outcome() is None
    assert "Done." == asked.outcome().text


def test_what_does_not_end_is_cancelled_after_the_grace() -> None:
    """Its callers are told so."""
    model = Hanging()
    with embed.start(SOON, providers=[model]) as app:
        asked, streamed = Background(lambda: app.ask("Hello?")), Background(lambda: list(app.stream("Hello?")))
        assert model.began.acquire(timeout=LIMIT)
        assert model.began.acquire(timeout=LIMIT)
    assert isinstance(asked.outcome(), errors.TurnCancelled)
    assert isinstance(streamed.outcome(), errors.TurnCancelled)
    assert "app was closed" in str(asked.outcome())


def test_exception_of_the_block_waits_for_nobody() -> None:
    """It comes out as it is, and what ran was cancelled without grace."""
    model = Hanging()
    asked: list[Background] = []

    def block() -> None:
        with embed.start(providers=[model]) as app:
            asked.append(Background(lambda: app.ask("Hello?")))
            model.began.acquire(timeout=LIMIT)
            raise KeyError("x")

    with pytest.raises(KeyError):
        block()
    assert isinstance(asked[0].outcome(), errors.TurnCancelled)


def test_closed_app_says_so() -> None:
    """Closing again does nothing; asking is refused."""
    with embed.start(providers=[echo()]) as app:
        app.close()
        stream = app.stream("Hello?")
    for act in (lambda: app.ask("Hello?"), lambda: list(stream), lambda: app.call(app.inner.models)):
        with pytest.raises(RuntimeError, match="the app is closed"):
            act()
    app.close()


def test_app_that_nobody_holds_any_more_stops() -> None:
    """Also one that a cycle holds."""
    app = embed.start(providers=[echo()])
    other = app.asyncio
    cycle = [app, other]
    cycle.append(cycle)  # type: ignore[arg-type]  # what is tested
    (thread,) = app_threads()
    del app
    gc.collect()
    assert thread.is_alive()
    del cycle, other
    gc.collect()
    thread.join(LIMIT)
    assert not thread.is_alive()


def test_apps_beside_each_other_share_nothing() -> None:
    """Each has a thread of its own."""
    with embed.start(providers=[echo()]) as first, embed.start(providers=[echo(name="b")]) as second:
        assert "re: a" == first.ask("a", session="s").text
        assert [] == list(second.call(second.inner.sessions.list))


def test_app_does_not_wait_for_its_own_thread() -> None:
    """A worker of the app that calls it as the host does is told what to do instead."""
    found: list[str] = []

    class Curious(RecordingObserver):
        async def observe(self, record: events.Record) -> None:
            for act in (lambda: app.ask("And you?"), lambda: list(app.stream("And you?")), app.close):
                with pytest.raises(RuntimeError, match="would be blocked") as told:
                    act()
                found.append(str(told.value))
            await super().observe(record)

    watcher = Curious()
    with embed.start(providers=[echo()], observers=[watcher]) as app:
        app.ask("Hello.")
        app.call(watcher.wait_for, events.TurnEnded)
    assert "app.inner.ask()" in found[-1]


async def test_host_on_trio_is_told_of_fairlead_open() -> None:
    """It needs no thread, and must not be blocked."""
    app = embed.start(providers=[echo()])
    with pytest.raises(RuntimeError, match=r"fairlead\.open\(\)"):
        app.ask("Hello?")
    for act in (app.asyncio.ask("Hello?"), embed.start_async(providers=[echo()]).__aenter__()):
        with pytest.raises(RuntimeError, match=r"fairlead\.open\(\) on trio"):
            await act
    await trio.to_thread.run_sync(app.close)


# -- the host's own functions and workers


def test_plain_function_runs_in_a_worker_thread() -> None:
    """From its first call on, so that it stalls nothing; it may ask the app itself."""
    threads = []

    def helper(word: str, *, context: ToolContext) -> str:
        """Ask somebody else.

        :param word: What to ask.
        """
        threads.append(threading.current_thread())
        app.call(context.progress, "asking")
        return app.ask(word, session="other").text

    model = ScriptedProvider([calls(("helper", {"word": "deep"})), "the other says", lambda r: r.history[-1].text])
    with embed.start(providers=[model], tools=[embed.tool(helper, effect="read")]) as app:
        assert "the other says" == app.ask("Go.").text
        (spec,) = app.inner.tools
    assert ("helper", "Ask somebody else.", "read") == (spec.name, spec.description, spec.effect)
    assert "What to ask." == spec.parameters["properties"]["word"]["description"]
    assert ["word"] == spec.parameters["required"]
    assert threads[0] not in (threading.main_thread(), *app_threads())


def test_coroutine_function_without_a_loop_is_refused_at_the_start() -> None:
    """And not when a model first calls it."""

    async def book(room: str) -> str:
        """Book a room."""
        return room

    for given in (book, embed.tool(book)):
        with pytest.raises(RuntimeError, match=r"'book' needs an asyncio loop.*embed\.start_async"):
            embed.start(tools=[given])


async def test_function_of_a_host_needs_a_host() -> None:
    """In an app that runs on trio itself there is none."""
    with pytest.raises(RuntimeError, match=r"no host is known.*embed\.start\(\)"):
        await embed.to_host(print)


class Chat(Channel):
    """The host's own chat."""

    name = "chat"
    capabilities = Capabilities()

    def __init__(self, show: Callable[[Outbound], Any]) -> None:
        self._show = show
        self._ready = trio.Event()

    async def run(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self._ready.set()
        await trio.sleep_forever()

    async def accept(self, text: str, number: str) -> str:
        await self._ready.wait()
        address = Address("chat", conversation="room")
        inbound = Inbound(address, Principal("staff:7", "Ann"), (Text(text),), external_id=number)
        return (await self.inbox.accept(inbound)).status

    async def send(self, outbound: Outbound) -> Delivery:
        return Delivery("sent", await embed.to_host(self._show, outbound))


def test_chat_of_the_host_is_a_channel() -> None:
    """What is handed in is served at once; the same message twice is answered once; closing waits for the answer."""
    shown: list[tuple[str, bool]] = []

    def show(outbound: Outbound) -> str:
        in_app = threading.current_thread() in app_threads()
        shown.append((outbound.parts[0].text, in_app))  # type: ignore[union-attr]  # it is text
        return f"message-{len(shown)}"

    chat = Chat(show)
    with embed.start(providers=[echo()], channels=[chat]) as app:
        assert ["accepted", "duplicate"] == [app.call(chat.accept, "Hello.", "1") for _ in range(2)]
    assert [("re: Hello.", False)] == shown
