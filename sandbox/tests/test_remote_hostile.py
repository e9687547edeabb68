"""What comes out of a plugin's process is checked: a hostile one makes no data of ours, and gets no service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead import (
    Address,
    Capabilities,
    Delivery,
    Draft,
    Finding,
    Message,
    ModelAnswer,
    ModelInfo,
    ModelRequest,
    Outbound,
    Principal,
    Review,
    Secret,
    Text,
    ToolCall,
    ToolResult,
    Usage,
    Verdict,
)
from fairlead.errors import FairleadError, JournalUnavailable, PluginLoadError, SchemaError
from fairlead.events import Record, SessionStarted
from fairlead.memory import Note, SessionInfo
from fairlead.testing import Deltas, FakeInbox, FakeToolContext
from fairlead.wire import encode_event, unstructure
from fairlead_sandbox.boundary import Call, Peer
from fairlead_sandbox.errors import SandboxError
from fairlead_sandbox.remote import RemotePlugin, options_for_guest

from .boundary_guests import hello_for
from .boundary_wires import peers

Script = dict[str, Any]
GOOD_FACTS: Mapping[str, Any] = {
    "channels": {"capabilities": {"streaming": True, "edits": True}},
    "tools": {"specs": [{"name": "dig", "description": "Digs."}]},
    "policies": {"boundaries": ["message_in", "model_request"], "settles": True},
    "memories": {"journal": True, "recall": True},
    "providers": {},
    "observers": {},
}


def hostile(kind: str, script: Script) -> Callable[[str, dict[str, Any], Call], Any]:
    """A guest with one worker, which answers as the script says: with a value, or with what a function does."""

    async def serve(op: str, args: dict[str, Any], call: Call) -> Any:
        facts = GOOD_FACTS[kind]
        described = {"workers": [{"worker": 0, "kind": kind, "name": "x", "facts": {}}]}
        usual = {"hello": {"protocol": 1}, "describe": described, "open": facts, "close": None}
        answer = script[op] if op in script else usual[op]
        return await answer(args, call) if callable(answer) else answer

    return serve


@asynccontextmanager
async def plugin_of(kind: str, script: Script) -> AsyncIterator[RemotePlugin]:
    table = "tools" if kind == "observers" else kind
    async with peers(hostile(kind, script)) as (peer, _, _):

        async def link() -> Peer:
            return peer

        plugin = RemotePlugin(hello_for(table, "x"), link, level="process")
        await plugin.prepare(peer)
        yield plugin


@asynccontextmanager
async def worker_of(kind: str, script: Script) -> AsyncIterator[Any]:
    """The proxy of a hostile guest's worker, opened."""
    async with plugin_of(kind, script) as plugin:
        (worker,) = (await plugin.workers())[kind]
        await worker.open()
        yield worker


ROOM = Address("kit", conversation="room")
OUT = Outbound("o1", ROOM, (Text("hello"),))
REQUEST = ModelRequest("script", [Message("user", (Text("hello"),))])
SAID = Message("user", (Text("hello"),))
STARTED = SessionStarted(at=1.0, agent="main")


def is_list_of(cls: type, found: Any) -> bool:
    return all(type(each) is cls for each in found)


async def generate(worker: Any) -> Any:
    return await worker.generate(REQUEST, Deltas())


CASES: dict[str, tuple[str, str, Callable[[Any], Any], Callable[[Any], bool]]] = {
    "check": ("tools", "check", lambda w: w.check(), lambda r: is_list_of(Finding, r)),
    "send": ("channels", "channel.send", lambda w: w.send(OUT), lambda r: type(r) is Delivery),
    "edit": ("channels", "channel.edit", lambda w: w.edit(Delivery("sent"), OUT), lambda r: type(r) is Delivery),
    "preview": ("channels", "channel.preview", lambda w: w.preview(Draft("d", ROOM)), lambda r: r is None),
    "models": ("providers", "provider.models", lambda w: w.models(), lambda r: is_list_of(ModelInfo, r)),
    "generate": ("providers", "provider.generate", generate, lambda r: type(r) is ModelAnswer),
    "call": (
        "tools",
        "tool.call",
        lambda w: w.call(ToolCall("c", "dig", {}), FakeToolContext()),
        lambda r: type(r) in (str, ToolResult),
    ),
    "append": (
        "memories",
        "journal.append",
        lambda w: w.journal.append("s", 0, [STARTED], pending=True),
        lambda r: r == 1,
    ),
    "find": ("memories", "journal.find", lambda w: w.journal.find("k"), lambda r: r is None or type(r) is str),
    "claim": ("memories", "journal.claim", lambda w: w.journal.claim(), lambda r: is_list_of(str, r)),
    "sessions": ("memories", "journal.sessions", lambda w: w.journal.sessions(), lambda r: is_list_of(SessionInfo, r)),
    "erase": ("memories", "journal.erase", lambda w: w.journal.erase("s"), lambda r: type(r) is bool),
    "add": ("memories", "recall.add", lambda w: w.recall.add(Note("x", "me")), lambda r: type(r) is Note),
    "search": ("memories", "recall.search", lambda w: w.recall.search("me", "x"), lambda r: is_list_of(Note, r)),
    "forget": ("memories", "recall.erase", lambda w: w.recall.erase("me"), lambda r: type(r) is int and r >= 0),
    "review": (
        "policies",
        "policy.review",
        lambda w: w.review(Review("message_in", SAID)),
        lambda r: is_list_of(Verdict, r),
    ),
    "settle": (
        "policies",
        "policy.settle",
        lambda w: w.settle(Review("model_request", REQUEST), Usage(1, 2)),
        lambda r: r is None,
    ),
    "observe": ("observers", "observer.observe", lambda w: w.observe(Record("s", 1, STARTED)), lambda r: r is None),
}
"""Kind, operation, how the host asks, and what alone it may get."""

FIELDS = (
    "status text scope id name subject ok detail effect rule parts revised type calls call tool usage policy evidence"
)
WORDS = st.sampled_from([*FIELDS.split(), "sent", "me", "allow", "revise", "x", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=10,
)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=40, deadline=None, suppress_health_check=(HealthCheck.too_slow,))
@given(answer=JSON)
def test_any_answer_is_data_or_an_error_of_ours(name: str, answer: Any) -> None:
    """Whatever JSON a plugin answers with."""
    kind, op, ask, fits = CASES[name]

    async def case() -> None:
        async with worker_of(kind, {op: answer}) as worker:
            try:
                found = await ask(worker)
            except FairleadError:
                return
            assert name in ("preview", "observe") or fits(found), found

    trio.run(case)


REFUSED: dict[str, tuple[str, Script, Callable[[Any], Any], type[Exception]]] = {
    "retry in the past": (
        "channels",
        {"channel.send": {"status": "failed", "retry_after": -1}},
        lambda w: w.send(OUT),
        SchemaError,
    ),
    "no status": ("channels", {"channel.send": {}}, lambda w: w.send(OUT), SchemaError),
    "bytes that are none": (
        "providers",
        {"provider.generate": {"parts": [{"type": "image", "media_type": "image/png", "data": "%%%"}]}},
        generate,
        SchemaError,
    ),
    "another part": ("providers", {"provider.generate": {"parts": [{"type": "code"}]}}, generate, SchemaError),
    "negative tokens": ("providers", {"provider.generate": {"usage": {"input_tokens": -5}}}, generate, SchemaError),
    "a revision without revise": (
        "policies",
        {"policy.review": [{"effect": "allow", "rule": "x", "revised": unstructure(SAID)}]},
        lambda w: w.review(Review("message_in", SAID)),
        SchemaError,
    ),
    "a revision of another kind": (
        "policies",
        {"policy.review": [{"effect": "revise", "rule": "x", "revised": unstructure(ToolCall("c", "t", {}))}]},
        lambda w: w.review(Review("message_in", SAID)),
        SchemaError,
    ),
    "a thousand verdicts": (
        "policies",
        {"policy.review": [{"effect": "allow", "rule": "x"}] * 1000},
        lambda w: w.review(Review("message_in", SAID)),
        SchemaError,
    ),
    "another version": (
        "memories",
        {"journal.append": 7},
        lambda w: w.journal.append("s", 0, [STARTED], pending=True),
        JournalUnavailable,
    ),
    "sessions of others": (
        "memories",
        {"journal.sessions": [unstructure(SessionInfo("s", 1, pending=False, created=1.0, updated=1.0, owner="bob"))]},
        lambda w: w.journal.sessions(owner="alice"),
        JournalUnavailable,
    ),
    "more sessions than asked for": (
        "memories",
        {"journal.sessions": [unstructure(SessionInfo("s", 1, pending=False, created=1.0, updated=1.0))] * 3},
        lambda w: w.journal.sessions(limit=2),
        JournalUnavailable,
    ),
    "notes of others": (
        "memories",
        {"recall.search": [unstructure(Note("secret", "bob"))]},
        lambda w: w.recall.search("alice", "secret"),
        SchemaError,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_answer_that_breaks_the_contract_is_refused(name: str) -> None:
    """With an error that says what was found."""
    kind, script, ask, error = REFUSED[name]
    async with worker_of(kind, script) as worker:
        with pytest.raises(error):
            await ask(worker)


def pages(*pairs: list[Any]) -> Callable[[dict[str, Any], Call], Any]:
    async def give(args: dict[str, Any], call: Call) -> None:
        for pair in pairs:
            await call.send([pair])

    return give


LINE = encode_event(STARTED).decode()


@pytest.mark.parametrize(
    "given",
    [
        pages([1, LINE], [3, LINE]),
        pages([2, LINE]),
        pages([1, "{}"]),
        pages([1, '{"kind": "x", "at": NaN}']),
        pages([1, LINE, 5]),
        pages(["1", LINE]),
        pages([1, LINE], [1, LINE]),
    ],
)
async def test_journal_with_gaps_or_garbage_is_unavailable(given: Any) -> None:
    """The host never folds a session from it."""
    async with worker_of("memories", {"journal.read": given}) as worker:
        with pytest.raises(JournalUnavailable):
            await worker.journal.read("s")


async def test_channel_gets_its_inbox_and_nothing_else() -> None:
    """What it hands in is checked before the inbox sees it; it is not told of other services."""
    asked: dict[str, Any] = {}
    tries: dict[str, tuple[str, dict[str, Any]]] = {
        "no inbound": ("inbox.accept", {"inbound": {"parts": []}}),
        "nothing": ("inbox.accept", {}),
        "no address": ("inbox.cancel", {"address": 7}),
        "no place": ("inbox.ready", {"where": ["x"]}),
        "recall": ("recall.search", {"query": "x"}),
        "progress": ("progress", {"detail": "x"}),
        "host": ("open", {"worker": 0}),
    }

    async def run(args: dict[str, Any], call: Call) -> None:
        for name, (op, said) in tries.items():
            try:
                asked[name] = await call.call(op, said)
            except FairleadError as error:
                asked[name] = type(error).__name__
        await call.call("inbox.ready", {"where": "x" * 5000})

    inbox = FakeInbox()
    async with worker_of("channels", {"channel.run": run}) as worker:
        await worker.run(inbox)
    errors = ["SchemaError"] * 4 + ["SandboxError"] * 3
    assert dict(zip(tries, errors, strict=True)) == asked
    assert ([], [], [2000]) == (inbox.accepted, inbox.cancelled, [len(place) for place in inbox.places])


async def test_tool_without_recall_gets_none() -> None:
    """Not even by asking for it, and the long words of its progress are cut."""
    asked = []

    async def use(args: dict[str, Any], call: Call) -> str:
        for op in ("recall.add", "recall.search", "recall.erase", "inbox.accept", "nonsense"):
            try:
                await call.call(op, {"query": "x"})
            except SandboxError as error:
                asked.append(error.problem)
        await call.call("progress", {"detail": "x" * 1000})
        return "done"

    context = FakeToolContext()
    async with worker_of("tools", {"tool.call": use}) as worker:
        await worker.call(ToolCall("c", "dig", {}), context)
    assert 5 == len([problem for problem in asked if "is not offered" in problem])
    assert [200] == [len(told) for told in context.told]


async def test_verdict_counts_as_its_policys_own() -> None:
    """Whatever name it claims; and a revision that changes no history is the same for whoever compares."""
    revised = {**unstructure(REQUEST), "instructions": "Be kind."}
    answer = [{"effect": "revise", "rule": "x", "policy": "rules", "revised": revised}]
    async with worker_of("policies", {"policy.review": answer}) as worker:
        (verdict,) = await worker.review(Review("model_request", REQUEST, principal=Principal("kit:alice")))
    assert ("", "Be kind.") == (verdict.policy, verdict.revised.instructions)
    assert verdict.revised.history is REQUEST.history


async def test_policy_that_keeps_no_account_is_not_told() -> None:
    """It would be a way to another process and back for nothing; one that keeps one hears everything."""
    told = []

    async def settle(args: dict[str, Any], call: Call) -> None:
        told.append((args["review"]["provider"], args["review"]["model"]["name"], args["usage"]))

    review = Review("model_request", REQUEST, provider="p", model=ModelInfo("m", input_price=1.0))
    async with worker_of("policies", {"policy.settle": settle}) as worker:
        await worker.settle(review, Usage(1, 2, cost=0.5))
        await worker.settle(review, None)
    async with worker_of("policies", {"open": {"boundaries": ["model_request"]}, "policy.settle": settle}) as worker:
        await worker.settle(review, Usage(1, 2))
    assert [("p", "m", {"input_tokens": 1, "output_tokens": 2, "cost": 0.5}), ("p", "m", None)] == told


BAD_PLUGINS: dict[str, Script] = {
    "another protocol": {"hello": {"protocol": 2}},
    "no protocol": {"hello": []},
    "no description": {"describe": "many"},
    "workers of another kind": {"describe": {"workers": [{"worker": 0, "kind": "policies", "name": "x", "facts": {}}]}},
    "a kind that is none": {"describe": {"workers": [{"kind": ["channels"]}]}},
    "too many workers": {"describe": {"workers": [{"kind": "channels"}] * 101}},
}


@pytest.mark.parametrize("name", BAD_PLUGINS)
async def test_plugin_that_describes_itself_wrongly_is_not_used(name: str) -> None:
    """It fails to load, and the next step is named."""
    with pytest.RaisesGroup(pytest.RaisesExc(PluginLoadError, match="channels/kit"), flatten_subgroups=True):
        async with plugin_of("channels", BAD_PLUGINS[name]):
            pass


BAD_FACTS: dict[str, tuple[str, Any]] = {
    "negative length": ("channels", {"capabilities": {"max_chars": -1}}),
    "unknown capability": ("channels", {"capabilities": {"root": True}}),
    "no boundary": ("policies", {"boundaries": ["everywhere"]}),
    "boundaries that are no texts": ("policies", {"boundaries": [["message_in"]]}),
    "a bad name of a tool": ("tools", {"specs": [{"name": "rm -rf", "description": ""}]}),
    "no tools": ("tools", {"specs": 5}),
    "no credentials": ("providers", {"credentials": []}),
    "credentials that are no names": ("providers", {"credentials": ["work", 5]}),
    "too many credentials": ("providers", {"credentials": ["x"] * 1001}),
}


@pytest.mark.parametrize("name", BAD_FACTS)
async def test_facts_are_checked_when_a_worker_is_opened(name: str) -> None:
    """What the core reads from a worker is of the right form."""
    kind, facts = BAD_FACTS[name]
    async with plugin_of(kind, {"open": facts}) as plugin:
        (worker,) = (await plugin.workers())[kind]
        with pytest.raises(SchemaError):
            await worker.open()


async def test_plugin_that_changes_in_a_restart_is_refused() -> None:
    """Boundaries and tools are fixed from `open` on; a process that comes back with others is no longer trusted."""
    script: Script = {}
    async with peers(hostile("policies", script)) as (peer, _, _):

        async def link() -> Peer:
            return peer

        plugin = RemotePlugin(hello_for("policies", "x"), link, level="process")
        await plugin.prepare(peer)
        (policy,) = (await plugin.workers())["policies"]
        await policy.open()
        await plugin.prepare(peer)
        script["open"] = {"boundaries": []}
        with pytest.raises(PluginLoadError, match="another one than before"):
            await plugin.prepare(peer)
        script["describe"] = {"workers": []}
        with pytest.raises(PluginLoadError, match="other workers than before"):
            await plugin.prepare(peer)
    assert frozenset({"message_in", "model_request"}) == policy.boundaries


async def test_workers_are_named_by_the_host_and_say_where_they_run() -> None:
    """Whatever the plugin calls them."""
    told = {"workers": [{"worker": place, "kind": "channels", "name": "root", "facts": {}} for place in range(2)]}
    opened: list[str] = []

    async def open_(args: dict[str, Any], call: Call) -> Any:
        opened.append(args["name"])
        return GOOD_FACTS["channels"]

    async with plugin_of("channels", {"describe": told, "open": open_}) as plugin:
        workers = (await plugin.workers())["channels"]
        assert [("kit", "process"), ("kit-2", "process")] == [(worker.name, worker.level) for worker in workers]
        workers[0].name = "renamed"
        await workers[0].open()
    assert ["renamed"] == opened
    assert Capabilities(streaming=True, edits=True) == workers[0].capabilities


def test_secrets_leave_as_handles() -> None:
    """Wherever they stand in the options."""
    options = {"key": Secret("s3cr3t", "env KEY"), "list": [Secret("other"), 1], "deep": {"x": ("y",)}}
    seen: list[str] = []

    def handle(secret: Secret) -> str:
        seen.append(secret.reveal())
        return f"handle-{len(seen)}"

    expected = {
        "key": {"$secret": "handle-1", "source": "env KEY"},
        "list": [{"$secret": "handle-2", "source": ""}, 1],
        "deep": {"x": ["y"]},
    }
    assert expected == options_for_guest(options, handle)
    assert ["s3cr3t", "other"] == seen
