"""HTML as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_fetch._markup import readable

BASE = "https://example.org/dir/page"


def text(html: str) -> str:
    return readable(html, BASE)[1]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("<p>one\n  two\tthree&nbsp;four</p>", "one two three four"),
        ("<h1>Top</h1>text<h3>Deep</h3>", "# Top\n\ntext\n\n### Deep"),
        ("<ul><li>a<li>b</ul>after", "- a\n- b\n\nafter"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<table><tr><th>x<th>y</tr><tr><td>1<td>2</tr></table>", "| x | y\n\n| 1 | 2"),
        ("<pre>def f():\n    return  1\n\n\n\tx</pre>", "def f():\n    return  1\n\n\tx"),
        ('<a href="/x">go</a> on', "[go](https://example.org/x) on"),
        (
            'see <a href="other?a=1&amp;b=2#c"> <b>this</b> one </a>.',
            "see [this one](https://example.org/dir/other?a=1&b=2#c) .",
        ),
        ('<a href="a">one<a href="b">two', "[one](https://example.org/dir/a)[two](https://example.org/dir/b)"),
        (
            '<a href="javascript:alert(1)">js</a> <a href="#x">here</a> <a href="mailto:a@b">m</a> <a>n</a>',
            "js here m n",
        ),
        ('<a href="http://[x">odd</a>', "odd"),
        ('<base href="https://cdn.example.org/b/"><a href="x">x</a>', "[x](https://cdn.example.org/b/x)"),
        ('<img alt="a cat" src=x><img src=y>', "[image: a cat]"),
        ("<script>var a = '<p>no</p>';</script><style>p {}</style>yes", "yes"),
        ("a<svg><svg></svg><text>no</text></svg>b<template>no</template>c<iframe/>d", "abcd"),
        ("<noscript>without scripts</noscript>", "without scripts"),
        ("&lt;b&gt; &amp; &#233; &euro;", "<b> & é €"),
        ("a<!-- no --><![CDATA[no]]>b<?php no ?>c", "abc"),
        ("<p>open <b>bold <i>it", "open bold it"),
        ("</p></div></a></title>x", "x"),
        ("nul\0l", "null"),
        ("", ""),
    ],
)
def test_page_reads(html: str, expected: str) -> None:
    """As a person would read it; what is broken is read as far as it goes."""
    assert expected == text(html)


def test_title_is_apart() -> None:
    """The first one; it is not part of the text."""
    assert ("A title", "text") == readable("<title> A\n title </title><title>Second</title>text", BASE)


@given(st.text(st.sampled_from("<>/=\"'!-&;# \nabp[]?:"), max_size=200))
def test_any_markup_is_read(html: str) -> None:
    """Nothing is ever raised, and lines are tidy."""
    found = text(html)
    assert found == found.strip()


def test_deep_and_long_pages_are_read() -> None:
    """A hundred thousand open elements are no recursion."""
    assert "deep" == text("<div>" * 100_000 + "deep")
    assert 1_000_000 <= len(text("word " * 200_000)) + 1
