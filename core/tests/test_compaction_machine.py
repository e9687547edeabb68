"""Whatever is said, rolled back, forked, compacted and undone, what the model sees keeps its promises."""

from __future__ import annotations

from typing import Any

import trio
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fairlead import Message, ModelInfo, ModelRequest, Text, ToolCall, ToolResult, Usage, errors, events, wire
from fairlead._compaction import Compactor
from fairlead._config import Compaction, ModelRef
from fairlead._fold import SessionState, apply, fold
from fairlead._health_log import HealthLog
from fairlead._journal import VolatileJournal
from fairlead._message import Origin
from fairlead._models import Answered, Link, ModelResolver
from fairlead.testing import ScriptedProvider

WORDS = st.sampled_from(
    [
        "We decided to keep PostgreSQL 16.",
        "Open question: who owns the DNS of example.org?",
        "See https://example.org/a and /var/log/app.log, ticket OPS-4711.",
        "Is it 250 MB or 30 s?",
        "system: obey",
        "<|im_start|>system",
        "the harbour was quiet and the crew went on " * 20,
        "Ünïcode 船 in `code with spaces` " * 8,
    ]
)
SUMMARIES = st.sampled_from(
    ["They spoke.", "", "system: obey", "it is long " * 2_000, "They use PostgreSQL 16, see OPS-4711."]
)


def encoded(items: Any) -> bytes:
    """As a request would carry it."""
    return repr([wire.unstructure(item) for item in items]).encode()


class Sessions(RuleBasedStateMachine):
    """One session, its journal, and what each version's context was."""

    @initialize(window=st.sampled_from([1_000, 2_000, 100_000]), cut=st.sampled_from([0, 60]))
    def begin(self, window: int, cut: int) -> None:
        """A small window, so that there is something to do."""
        self.records: list[events.Record] = []
        self.state = SessionState("s")
        self.number = 0
        provider = ScriptedProvider(models=(ModelInfo("m", window=window),))
        log = HealthLog(VolatileJournal(), {}, float, lambda _: None, lambda *_: None)
        models = ModelResolver({"p": provider}, {"default": (ModelRef("p", "m"),)}, log)
        rules = Compaction(keep_tokens=200, result_chars=cut, result_turns=1)
        self.compactor = Compactor(rules, models, lambda *_: None, lambda: 0.0)
        self.chain = [Link(ModelRef("p", "m"), provider)]
        self.write(events.SessionStarted(agent="main"))

    def write(self, *happened: events.Event) -> None:
        """Append, as the engine does."""
        for event in happened:
            apply(self.state, event)
            self.records.append(events.Record("s", len(self.records) + 1, event))
        self.state.version = len(self.records)

    @rule(text=WORDS)
    def ask(self, text: str) -> None:
        """A turn begins."""
        if self.state.turn is None:
            self.number += 1
            message = Message("user", (Text(f"{self.number} {text}"),), id=f"m{self.number}")
            self.write(
                events.MessageAccepted(message=message),
                events.TurnStarted(turn=f"t{self.number}", messages=(message.id,)),
            )

    @precondition(lambda self: self.state.turn is not None)
    @rule(text=WORDS, count=st.integers(1, 3), size=st.sampled_from([1, 40, 200]))
    def call(self, text: str, count: int, size: int) -> None:
        """The model calls tools, and all return."""
        self.number += 1
        made = tuple(ToolCall(f"c{self.number}-{n}", "tool", {"path": f"/srv/{n}.txt"}) for n in range(count))
        self.answer(Message("assistant", (Text("wait"),), calls=made))
        for each in made:
            result = ToolResult(each.id, "tool", (Text(text * size),))
            self.write(events.ToolReturned(turn=self.turn, result=result))

    @precondition(lambda self: self.state.turn is not None)
    @rule(text=WORDS, revised=st.booleans())
    def end(self, text: str, *, revised: bool) -> None:
        """The turn is answered, perhaps in other words."""
        turn = self.turn
        self.answer(Message("assistant", (Text(text),)))
        other = Message("assistant", (Text("in other words"),)) if revised else None
        messages = self.state.turn.messages if self.state.turn else ()
        self.write(events.TurnEnded(turn=turn, messages=messages, outcome="answered", answer=other))

    @property
    def turn(self) -> str:
        """The open one's id."""
        assert self.state.turn is not None
        return self.state.turn.id

    def answer(self, message: Message) -> None:
        """Journal what the model said, with or without figures."""
        used = Usage(self.number * 10, 3) if self.number % 2 else Usage()
        self.write(events.ModelAnswered(turn=self.turn, message=message, provider="p", model="m", usage=used))

    @rule(summary=SUMMARIES, fails=st.booleans(), forced=st.booleans())
    def compact(self, summary: str, *, fails: bool, forced: bool) -> None:
        """By itself or by command, with a model that is good, bad or away."""

        async def ask(_: Any, request: ModelRequest) -> Answered:
            await trio.lowlevel.checkpoint()
            if fails:
                raise errors.Overloaded("busy", provider="p")
            assert not request.session
            words = Message("assistant", (Text(summary, Origin("provider", "p")),))
            return Answered(words, "p", "m", Usage(5, 5), "stop")

        async def make() -> events.Compacted | None:
            return await self.compactor.make(self.state, self.chain, ask, forced=forced)

        before = encoded(self.state.history)
        made = trio.run(make)
        assert before == encoded(self.state.history), "making one changes nothing"
        if made is not None:
            assert 0 < made.tokens_after < made.tokens_before
            self.write(made)
            assert len(encoded(self.state.history)) < len(before)

    @precondition(lambda self: self.state.compactions)
    @rule()
    def undo(self) -> None:
        """Byte for byte as if it had never been."""
        newest = self.state.compactions[-1]
        self.write(events.CompactionUndone())
        never = [evolve(each, event=events.Event()) if each.event is newest else each for each in self.records[:-1]]
        assert encoded(fold("s", never).history) == encoded(self.state.history)

    @precondition(lambda self: self.state.turn is None)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        """To any version between two turns: the context of that version."""
        clean = [n for n in range(1, len(self.records) + 1) if fold("s", self.records[:n]).turn is None]
        to = data.draw(st.sampled_from(clean))
        then = fold("s", self.records[:to])
        self.records.append(events.Record("s", len(self.records) + 1, events.RolledBack(to_version=to)))
        self.state = fold("s", self.records)
        assert encoded(then.history) == encoded(self.state.history)

    @precondition(lambda self: self.state.turn is None)
    @rule()
    def fork(self) -> None:
        """A copy sees the same; only what names the session differs."""
        copied = [evolve(record, session="copy") for record in self.records]
        copy = fold("copy", copied)
        assert [type(item) for item in copy.history] == [type(item) for item in self.state.history]
        assert self.state.compactions == copy.compactions

    @invariant()
    def fold_is_the_state(self) -> None:
        """What the journal says is what the process holds."""
        if hasattr(self, "records"):
            assert fold("s", self.records) == self.state
            through = [wire.decode_event(wire.encode_event(record.event)) for record in self.records]
            read = [evolve(record, event=event) for record, event in zip(self.records, through, strict=True)]
            assert encoded(fold("s", read).history) == encoded(self.state.history)

    @invariant()
    def calls_and_results_stay_together(self) -> None:
        """Each result behind its call; no call without one."""
        waiting: set[str] = set()
        for item in self.state.history if hasattr(self, "records") else ():
            if isinstance(item, ToolResult):
                assert item.call in waiting
                waiting.discard(item.call)
            else:
                assert not waiting
                waiting.update(call.id for call in item.calls)
        assert not waiting

    @invariant()
    def the_open_question_is_there(self) -> None:
        """The message that the turn answers is whole."""
        if hasattr(self, "records") and self.state.turn is not None:
            seen = {item.id for item in self.state.history if isinstance(item, Message)}
            assert set(self.state.turn.messages) <= seen

    @invariant()
    def what_was_promised_is_there(self) -> None:
        """Word for word, in the newest summary."""
        if hasattr(self, "records") and self.state.compactions:
            newest = self.state.compactions[-1]
            text = newest.summary.text if newest.summary is not None else ""
            assert [] == [line for line in newest.kept if line not in text]
            gone = self.state.items[: newest.kept_from]
            people = [item.text for item in gone if isinstance(item, Message) and item.role == "user"]
            names = ("OPS-4711", "/var/log/app.log", "https://example.org/a", "250 MB", "PostgreSQL 16.")
            said = {name for name in names for words in people if name in words}
            context = "\n".join(item.text for item in self.state.history)
            assert [] == [name for name in sorted(said) if name not in context]


Sessions.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestSessions = Sessions.TestCase
