"""The words of events, without a network: Markdown, mentions, sizes; and whatever a stranger may send."""

from __future__ import annotations

import json
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import Inbound, Settings
from fairlead_matrix._account import Account
from fairlead_matrix._api import Api
from fairlead_matrix._content import MOST_BYTES, fits, mentions, replacement, text_event, unaddressed, unquoted
from fairlead_matrix._json import load_file, parse, save_file, texted
from fairlead_matrix._markdown import to_html
from fairlead_matrix._media import Media
from fairlead_matrix._options import read_options
from fairlead_matrix._reader import Reader
from fairlead_matrix._rooms import Room, Rooms

ALLOWED = {
    *("h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "p", "a", "ul", "ol", "li", "strong", "em", "del", "code"),
    *("hr", "br", "table", "thead", "tbody", "tr", "th", "td", "pre"),
}
"""Of the tags that the client-server API lists for `org.matrix.custom.html`, those that Markdown makes."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words", ""),
        ("two\nlines", ""),
        ("two\n\nparagraphs & <more>", ""),
        (
            "*em* **strong** ~~gone~~ `code`",
            "<p><em>em</em> <strong>strong</strong> <del>gone</del> <code>code</code></p>",
        ),
        ("[a](https://example.org/?a=1&b=2)", '<p><a href="https://example.org/?a=1&amp;b=2">a</a></p>'),
        ("[a](javascript:alert(1))", ""),
        ("[a](data:text/html,x)", ""),
        ("![a](https://example.org/spy.png)", '<p>!<a href="https://example.org/spy.png">a</a></p>'),
        ("<script>alert(1)</script>", ""),
        ("- one\n- two", "<ul>\n<li>one</li>\n<li>two</li>\n</ul>"),
        ("```python\n1 < 2\n```", '<pre><code class="language-python">1 &lt; 2\n</code></pre>'),
        ("|a|b|\n|-|-|\n|1|2|", None),
    ],
)
def test_markdown(text: str, expected: str | None) -> None:
    """What is no markup is no HTML."""
    found = to_html(text)
    assert ("<table>" in found) if expected is None else (expected == found)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update((name, value or "") for name, value in attrs)


MARKUP = st.lists(
    st.sampled_from(
        ["[", "](", ")", "<", ">", "`", "*", "_", "~~", "|", "\n", "- ", "# ", "&", "javascript:", "a", '"', "!"]
    )
    | st.text(max_size=5),
    max_size=60,
).map("".join)


@given(MARKUP)
def test_html_has_only_allowed_tags(text: str) -> None:
    """And links of few schemes; whatever a model, or who talks it into that, writes."""
    tags = _Tags()
    tags.feed(to_html(text))
    assert tags.tags <= ALLOWED
    links = [value.lower() for name, value in tags.attributes if name == "href"]
    assert all(link.startswith(("http://", "https://", "mailto:")) for link in links)
    assert {name for name, _ in tags.attributes} <= {"href", "title", "class", "start", "style"}


@pytest.mark.parametrize(
    "text", ["[" * 9000, "*a " * 3000, "> " * 4500, "`" * 9000, "![" * 4500, "<a" * 4500, "|-" * 4500]
)
def test_hostile_markup_takes_no_long_time(text: str) -> None:
    """Quadratic work on the longest message would hold everybody."""
    began = time.perf_counter()
    to_html(text)
    assert time.perf_counter() - began < 3  # real time: of one message on a busy machine


@given(st.text(max_size=300), st.integers(1, 30))
def test_every_content_fits_into_an_event(text: str, times: int) -> None:
    """At most as long as the core cuts it, also as an edit."""
    content = text_event((text * times)[:9000], "m.text")
    for found in (content, replacement("$" + "e" * 43, content)):
        assert fits(found)
        assert len(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")) <= MOST_BYTES


def test_nul_is_replaced() -> None:
    """Databases of homeservers cannot keep it."""
    assert "a\ufffdb" == text_event("a\x00b", "m.text")["body"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("> <@a:b> quoted\n\nwords", "words"),
        ("> <@a:b> quoted\n> more\n\nwords\n\nwords", "words\n\nwords"),
        ("> * <@a:b> waves\n\nwords", "words"),
        ("> a quotation\n\nwords", "> a quotation\n\nwords"),
        ("> <@a:b> nothing else", "> <@a:b> nothing else"),
        ("words", "words"),
    ],
)
def test_fallback_of_replies_is_left_out(body: str, expected: str) -> None:
    """Only where it is one."""
    assert expected == unquoted(body)


def test_mentions_are_whole_words() -> None:
    """Names may have any characters; none of them is a pattern."""
    me = "@bot:example.org"
    assert mentions({}, "hi @bot:example.org!", me, "")
    assert not mentions({}, "hi @bot:example.organ", me, "")
    assert not mentions({}, "hi xbot", me, "bot")
    assert mentions({}, "is (C++)[x] there", me, "(C++)[x]")
    assert not mentions({}, "anything", me, "")
    assert "now?" == unaddressed("  @Bot, now?", me, "bot")
    assert "bot" == unaddressed("bot", me, "bot")


# -- strangers' JSON

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(), max_size=8) | st.just("m.text"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["msgtype", "body", "formatted_body", "m.mentions", "m.relates_to", "url", "info", "filename", "m.new_content"]
CONTENT = st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from(["m.text", "m.emote", "m.file", "m.image"]))
RELATION = st.dictionaries(
    st.sampled_from(["rel_type", "event_id", "m.in_reply_to", "is_falling_back"]),
    JSON | st.sampled_from(["m.thread", "m.replace", "$e"]),
)


class _Here(Rooms):
    """Rooms that are known without asking anybody."""

    async def get(self, room_id: str) -> Room:
        return Room(room_id, {"@ann:x": "Ann", "@bot:x": "Bot", "@bob:x": ""}, encrypted=False)


@given(CONTENT, RELATION, JSON, JSON)
async def test_no_event_breaks_the_reader(content: Any, relation: Any, sender: Any, event_id: Any) -> None:
    """Whatever it holds, it is a message that the journal can write, or nothing."""
    options = read_options(Settings("matrix", {"homeserver": "http://x", "access_token": "t", "groups": "all"}))
    account = Account(options, Api("http://x"), "@bot:x")
    reader = Reader(account, _Here(account), Media(account))
    for event in (
        {"type": "m.room.message", "sender": sender, "event_id": event_id, "content": content},
        {"type": "m.room.message", "sender": "@ann:x", "event_id": "$e", "content": {**content, "url": "mxc:"}},
        {
            "type": "m.room.message",
            "sender": "@ann:x",
            "event_id": "$e",
            "content": {**content, "m.relates_to": relation, "url": ""},
        },
    ):
        got = await reader.read("!r:x", event)
        if got is not None:
            assert isinstance(got, Inbound)
            words = [got.author.name, got.external_id, got.reply_to, got.address.thread, *map(repr, got.parts)]
            assert "".join(words).encode("utf-8")
            assert got.parts


def test_lone_surrogates_are_replaced() -> None:
    """JSON can say them, and no journal can write them."""
    assert "a\ufffd" == texted(parse(b'{"a": "a\\ud800"}'), "a")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": NaN'])
def test_what_is_no_json_is_nothing(data: bytes) -> None:
    """Also where it is only deep."""
    assert parse(data) is None


def test_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    """A half-written one beside it changes nothing, and a damaged one is none."""
    path = tmp_path / "new" / "sync.json"
    assert {} == load_file(path)
    save_file(path, {"a": 1})
    path.with_suffix(".new").write_text('{"a": ')
    assert {"a": 1} == load_file(path)
    save_file(path, {"a": 2})
    assert {"a": 2} == load_file(path)
    path.write_text('{"a": ')
    assert {} == load_file(path)
