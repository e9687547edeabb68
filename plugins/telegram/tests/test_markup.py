"""Markdown becomes messages that Telegram can read and that are never too long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead_telegram._markup import LIMIT, pieces_of, units

from . import entities


def shown(text: str) -> list[str]:
    return [piece.html for piece in pieces_of(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**bold** and __bold__", "<b>bold</b> and <b>bold</b>"),
        ("*it* and _it_", "<i>it</i> and <i>it</i>"),
        ("***", "***"),
        ("**a *b* c**", "<b>a <i>b</i> c</b>"),
        ("~~gone~~", "<s>gone</s>"),
        ("`a < b` & ``x`y``", "<code>a &lt; b</code> &amp; <code>x`y</code>"),
        ("`**no**`", "<code>**no**</code>"),
        ("[l](https://e.org/?a=1&b=2)", '<a href="https://e.org/?a=1&amp;b=2">l</a>'),
        ('[l](https://e.org/")', '<a href="https://e.org/&quot;">l</a>'),
        ("[l](javascript:alert(1))", "[l](javascript:alert(1))"),
        ("![alt](https://e.org/p.png)", '<a href="https://e.org/p.png">alt</a>'),
        ("snake_case_name 2*3*4 a ** b", "snake_case_name 2*3*4 a ** b"),
        (r"\*not\* \_this\_ C:\dir", "*not* _this_ C:\\dir"),
        ("# Title\ntext", "<b>Title</b>\ntext"),
        ("- one\n  * two", "• one\n  • two"),
        ("1. one\n2. two", "1. one\n2. two"),
        ("> q **b**\n> r\nafter", "<blockquote>q <b>b</b>\nr</blockquote>\nafter"),
        ("```py\nx < 1\n```\nafter", '<pre><code class="language-py">x &lt; 1</code></pre>\nafter'),
        ("```\n**x**\n```", "<pre>**x**</pre>"),
        ("````\n```\n````", "<pre>```</pre>"),
        ("```\nnever closed", "<pre>never closed</pre>"),
        ("| a | b |\n|---|---|", "<pre>| a | b |\n|---|---|</pre>"),
        ("either | or", "either | or"),
        ("<b>x</b> &amp;", "&lt;b&gt;x&lt;/b&gt; &amp;amp;"),
        ("\U0001f9ed **\U0001f9ed**", "\U0001f9ed <b>\U0001f9ed</b>"),
    ],
)
def test_markdown_becomes_html(text: str, expected: str) -> None:
    """What models write; what is no markup stays as it is."""
    assert [expected] == shown(text)


@pytest.mark.parametrize("text", ["", " \n ", "``` \n```", "> ", "\u200b"[:0]])
def test_nothing_is_no_message(text: str) -> None:
    """Telegram refuses an empty one."""
    assert [] == shown(text)


def test_plain_text_is_not_read() -> None:
    """Letter by letter, where the operator wants it so."""
    (piece,) = pieces_of("**a** <b>", markdown=False)
    assert ("**a** <b>", "**a** &lt;b&gt;") == (piece.plain, piece.html)


def test_code_goes_on_in_the_next_message() -> None:
    """Each piece opens and closes its own block, of the same language; no line is lost, and its indentation stays."""
    lines = [f"    line {number} of the program" for number in range(400)]
    found = pieces_of("Here:\n```python\n" + "\n".join(lines) + "\n```\nThat is all.")
    assert len(found) > 2
    for piece in found[1:-1]:
        assert piece.html.startswith('<pre><code class="language-python">    line')
        assert piece.html.endswith("program</code></pre>")
    assert ["Here:", *lines, "That is all."] == "\n".join(piece.plain for piece in found).split("\n")


def test_bold_over_a_cut_is_bold_on_both_sides() -> None:
    """A style that spans the cut is closed and opened again."""
    found = pieces_of("x" * 3000 + " **" + "word " * 300 + "end**")
    assert ["</b>", "</b>"] == [piece.html[-4:] for piece in found]
    assert found[1].html.startswith("<b>word")


def test_cut_counts_code_units_and_keeps_characters_whole() -> None:
    """A compass takes two; a family is not torn apart."""
    found = pieces_of("\U0001f9ed" * 5000)
    assert [2048, 2048, 904] == [len(piece.plain) for piece in found]
    family = "\U0001f469\u200d\U0001f469\u200d\U0001f466"
    for piece in pieces_of(family * 1000):
        assert not set(piece.plain.replace(family, ""))


def as_read(html: str) -> str:
    return entities.parse(html, "HTML")[0]


MARKS = st.sampled_from(
    ["**", "*", "_", "__", "`", "```", "~~", "[", "](https://e.org)", "\n", "> ", "# ", "- ", "|", "\\"]
)
TEXTS = st.lists(MARKS | st.text(max_size=8), max_size=40).map("".join)


@given(TEXTS)
@settings(deadline=None)
def test_whatever_is_written_can_be_read(text: str) -> None:
    """The HTML parses as Telegram parses it, gives the plain words, and fits."""
    for piece in pieces_of(text, limit=64):
        assert piece.plain == as_read(piece.html)
        assert 0 < units(piece.plain) <= 64


@pytest.mark.parametrize(
    "text",
    [
        "<b>markup</b> & *stars* _lines_ `ticks` [link](https://example.org) @everyone /command",
        '"quotes" \'and\' \\backslashes\\ and {"json": [1, null]} and %s &amp; &#60;',
        "zero\u200bwidth\u200djoiners \u202eright to left\u202c end \x00 \x07",
        "**long** " * 3000,
        "\U0001f9ed <&> " * 3000,
    ],
)
def test_hostile_text_can_be_read(text: str) -> None:
    """In full length."""
    for piece in pieces_of(text):
        assert piece.plain == as_read(piece.html)
        assert units(piece.plain) <= LIMIT


@pytest.mark.parametrize(
    "text", ["**a" * 20_000, "[" * 20_000, "`a``a```a" * 8_000, "_a" * 20_000, "*a _b ~~c " * 5_000, "> " * 20_000]
)
def test_marks_without_an_end_take_no_time(text: str) -> None:
    """A search for the other mark is bounded."""
    began = time.process_time()
    pieces_of(text)
    assert time.process_time() - began < 3
