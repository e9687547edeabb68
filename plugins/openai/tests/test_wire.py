"""The request as it goes out: what is old is not encoded again, and what changed is."""

from __future__ import annotations

import json
from typing import Any

from fairlead import Audio, Data, File, Message, ModelRequest, Text, ToolCall, ToolResult
from fairlead_openai._encoded import Encoded, Prefixes, call_id, clean, dumps, words_of
from fairlead_openai._wire import Wire, is_strict

HI = Message("user", (Text("hi"),))
HELLO = Message("assistant", (Text("hello"),))


def sent(wire: Wire, *history: Any, session: str = "s", **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(wire.body(ModelRequest("m", history, session=session, **fields)))
    return body


def a_wire() -> Wire:
    return Wire(official=False, stream_usage=True)


def test_growing_history_gives_the_same_as_a_new_one() -> None:
    """At each length: through the prefix of the session, and without it."""
    call = ToolCall("c", "add", {"a": 1})
    turn = (HI, Message("assistant", (), calls=(call,)), ToolResult("c", "add", (Text("1"),)), HELLO)
    history = turn * 5
    wire = a_wire()
    for length in range(len(history) + 1):
        assert sent(a_wire(), *history[:length]) == sent(wire, *history[:length])


def test_changed_history_is_encoded_anew() -> None:
    """Compaction, rollback and fork change what stood before."""
    wire = a_wire()
    sent(wire, HI, HELLO, HI, HELLO, HI)
    other = Message("user", (Text("the summary"),))
    texts = [message["content"] for message in sent(wire, other, HELLO, HI)["messages"]]
    assert ["the summary", "hello", "hi"] == texts


def test_sessions_do_not_mix() -> None:
    """Nor do requests without a session."""
    wire = a_wire()
    other = Message("user", (Text("mine"),))
    for session in ("a", "b", ""):
        assert "hi" == sent(wire, HI, HELLO, HI, session=session)["messages"][0]["content"]
        assert "mine" == sent(wire, other, HELLO, HI, session=f"{session}2")["messages"][0]["content"]


def test_prefixes_are_bounded() -> None:
    """The session that was not used for longest goes first."""
    prefixes = Prefixes(lambda items, first: b"x" * 100 * len(items), max_bytes=350)
    for session in ("a", "b", "a", "c"):
        prefixes(session, [HI])
    assert 3 == len(prefixes)
    prefixes("d", [HI])
    assert 3 == len(prefixes)
    prefixes("", [HI])
    assert 3 == len(prefixes)


def test_encoded_items_are_bounded_and_huge_ones_are_not_kept() -> None:
    """A picture of many megabytes would drive out everything else."""
    made: list[str] = []

    def encode(item: str) -> bytes:
        made.append(item)
        return item.encode()

    encoded = Encoded(encode, max_bytes=1000)
    small, huge = "small", "h" * 500
    for item in (small, small, huge, huge):
        encoded(item)
    assert [small, huge, huge] == made
    for number in range(20):
        encoded(f"item {number}")
    assert 4 == len(encoded)


def test_official_server_gets_the_newer_name_of_the_limit() -> None:
    """The newer models refuse `max_tokens`."""
    official = Wire(official=True, stream_usage=False)
    body = sent(official, HI, max_output_tokens=5)
    assert (5, None, None) == (body["max_completion_tokens"], body.get("max_tokens"), body.get("stream_options"))


def test_options_reach_the_server_but_not_the_core_of_the_request() -> None:
    """`temperature` and the like; never the messages or the stream."""
    body = sent(a_wire(), HI, options={"temperature": 0, "stream": False, "messages": []})
    assert (0, True, 1) == (body["temperature"], body["stream"], len(body["messages"]))


def test_strict_mode_is_asked_for_where_the_schema_allows_it() -> None:
    """Each object closed and all its properties required."""
    inner = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    outer = {**inner, "properties": {"n": {"type": "array", "items": inner}}}
    assert is_strict(outer)
    assert not is_strict({**outer, "required": []})
    assert not is_strict({**inner, "properties": {"n": {"type": "object", "properties": {}}}})


def test_parts_without_a_place_become_words() -> None:
    """The model is told what it cannot see."""
    assert '{"a":1}' == words_of(Data({"a": 1}))
    assert "spoken" == words_of(Audio("audio/ogg", b"x", transcript="spoken"))
    assert "File 'a.txt':\nhello" == words_of(File("a.txt", "text/plain", b"hello"))
    assert "[file 'a.zip', application/zip, 3 bytes; its content is not shown]" == words_of(
        File("a.zip", "application/zip", b"zip")
    )


def test_ids_fit_both_protocols() -> None:
    """What fits stays; what does not becomes another id, the same each time."""
    assert "call_1-A" == call_id("call_1-A")
    assert call_id("functions.add:0") == call_id("functions.add:0")
    assert call_id("functions.add:0") != call_id("functions.add:1")
    assert 29 == len(call_id("x" * 41))


def test_text_is_always_valid_utf_8() -> None:
    """Lone surrogates come from outside; real pairs are one character."""
    assert b'"?"' == dumps("\udc80")
    assert "\U0001f9ed" == clean("\U0001f9ed")
    assert "�" == clean("\ud83d")
    assert "" == clean(7)
