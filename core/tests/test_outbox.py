"""Answers as messages that a channel can take."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import Capabilities, Data, File, Image, Origin, Text
from fairlead._outbox import fitted, split_text

JOINER = "\u200d"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
texts = st.text(
    st.one_of(
        st.sampled_from(["a", "b", " ", "\n", "\u0301", JOINER, "\ufe0f", "\U0001f44d", "\U0001f3fd", "\u20e3"]),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)


def squeezed(text: str) -> str:
    return "".join(text.split())


def clings(piece: str) -> bool:
    char = piece[0]
    return char == JOINER or unicodedata.category(char).startswith("M") or "\U0001f3fb" <= char <= "\U0001f3ff"


@settings(max_examples=300, deadline=None)
@given(texts, st.integers(1, 20))
def test_pieces_fit_and_lose_nothing_but_white_space(text: str, limit: int) -> None:
    """Each is at most the limit, none is empty, and together they are the text."""
    pieces = split_text(text, limit)
    assert all(0 < len(piece) <= limit and piece.strip() for piece in pieces)
    assert squeezed(text) == squeezed("".join(pieces))


words = st.lists(
    st.tuples(
        st.sampled_from(["a", "n", FAMILY, "\U0001f44d\U0001f3fd", "1\ufe0f\u20e3"]),
        st.text("\u0301\u0308", max_size=1),
    ),
    max_size=30,
).map(lambda pairs: "".join(base + marks for base, marks in pairs))


@settings(max_examples=200, deadline=None)
@given(words, st.integers(12, 30))
def test_characters_of_several_code_points_stay_whole(text: str, limit: int) -> None:
    """Accents, skin tones, families and keycaps are cut only before or behind."""
    pieces = split_text(text, limit)
    assert text == "".join(pieces)
    assert not any(clings(piece) or piece.endswith(JOINER) for piece in pieces)


@pytest.mark.parametrize(
    ("text", "limit", "pieces"),
    [
        ("", 5, []),
        ("  \n ", 5, []),
        ("", None, []),
        ("as it is", None, ["as it is"]),
        ("as it is", 8, ["as it is"]),
        ("abc", 1, ["a", "b", "c"]),
        ("a\u0301b", 1, ["a", "\u0301", "b"]),
        ("\u0301" * 3, 1, ["\u0301"] * 3),
        ("one two three", 8, ["one two", "three"]),
        ("one two\n\nthree four", 16, ["one two", "three four"]),
        ("a bcdefghij", 6, ["a bcde", "fghij"]),
        ("first line\nsecond line", 18, ["first line", "second line"]),
        ("abcdefgh\u0301i", 8, ["abcdefg", "h\u0301i"]),
    ],
)
def test_cut(text: str, limit: int | None, pieces: list[str]) -> None:
    """At a paragraph, a line or a space of the second half; else where a character ends; else anywhere."""
    assert pieces == split_text(text, limit)


PICTURE = Image("image/png", url="https://example.org/a.png", alt="a boat")
PAPER = File("plan.pdf", "application/pdf", data=b"%PDF")
IMAGES = Capabilities(max_chars=10, media=frozenset({"image/*"}))


def test_media_that_the_channel_takes_go_with_the_last_words() -> None:
    """What it can send is sent as it is."""
    origin = Origin("provider", "p")
    first, second = fitted((Text("one two three", origin), PICTURE), IMAGES)
    assert ((Text("one two", origin),), (Text("three", origin), PICTURE)) == (first, second)
    assert [(PICTURE,)] == fitted((PICTURE,), IMAGES)
    assert [(PICTURE,)] == fitted((Text(""), PICTURE), IMAGES)


def test_media_that_the_channel_cannot_take_are_put_into_words() -> None:
    """A link where there is one; else it is said that something is missing."""
    ((part,),) = fitted((Text("look"), PICTURE, PAPER), Capabilities())
    assert isinstance(part, Text)
    assert "look\n[a boat: https://example.org/a.png]\n[plan.pdf: this channel cannot show it]" == part.text


def test_data_goes_as_it_is_only_to_who_names_it() -> None:
    """A family of types is no word about values for programs."""
    data = Data({"a": 1})
    assert [(Text("look"), data)] == fitted((Text("look"), data), Capabilities(media=frozenset({"application/json"})))
    for media in ({"application/*"}, set[str]()):
        (((part,),)) = fitted((data,), Capabilities(media=frozenset(media)))
        assert Text('{"a": 1}') == part


def test_exact_type_and_family_of_media() -> None:
    """``image/png`` or ``image/*``; nothing else matches."""
    for media, sent in (({"image/png"}, True), ({"image/*"}, True), ({"image/jpeg"}, False), ({"*/*"}, False)):
        assert ([(PICTURE,)] == fitted((PICTURE,), Capabilities(media=frozenset(media)))) is sent


def test_data_are_shown_as_json() -> None:
    """For people who read it, and for programs that do."""
    ((part,),) = fitted((Data({"a": [True, None, "ü"]}),), Capabilities())
    assert isinstance(part, Text)
    assert '{"a": [true, null, "ü"]}' == part.text


def test_nothing_to_say_is_no_message() -> None:
    """Empty parts are not sent."""
    assert [] == fitted((), Capabilities()) == fitted((Text(""), Text(" \n")), Capabilities())
