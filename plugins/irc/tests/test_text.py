"""What fits into a line, and whether it speaks to us."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_irc._text import LEAST_ROOM, addressed, in_lines, in_one, room_for

ROOM = 100
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
CLUSTERS = st.sampled_from([FAMILY, "e\u0301", "\U0001f44d\U0001f3fd", "\U0001f1f3\U0001f1f4", "中", "a", " ", "ü"])


@given(st.text(), st.integers(LEAST_ROOM, 450))
def test_every_line_fits_and_no_word_is_lost(text: str, room: int) -> None:
    """By bytes; what is left out is white space and controls."""
    lines = [said.text for said in in_lines(text, room, 10_000)]
    assert all(0 < len(line.encode()) <= room for line in lines)
    assert not any(set(line) & set("\r\n\0\x01") for line in lines)
    wanted = [char for char in text.encode("utf-8", "replace").decode() if char.isprintable() and char != " "]
    assert wanted == [char for line in lines for char in line if char.isprintable() and char != " "]


@given(st.lists(CLUSTERS, min_size=1, max_size=300).map("".join))
def test_what_readers_see_as_one_character_is_not_cut(text: str) -> None:
    """Families, accents, tones of skin and flags stay whole."""
    for line in [said.text for said in in_lines(text, ROOM, 10_000)][1:]:
        assert unicodedata.category(line[0])[0] != "M"
        assert line[0] not in "\u200d\U0001f3fd"
    flags = "".join(said.text for said in in_lines("\U0001f1f3\U0001f1f4" * 60, ROOM - 2, 100))
    assert "\U0001f1f3\U0001f1f4" * 60 == flags
    assert all(len(said.text) % 2 == 0 for said in in_lines("\U0001f1f3\U0001f1f4" * 60, ROOM - 2, 100))


def test_lines_end_at_spaces_where_there_are_some() -> None:
    """In the second half; a word without an end is cut."""
    words = [said.text for said in in_lines("word " * 50, ROOM, 100)]
    assert {"word"} == {word for line in words for word in line.split()}
    assert [100, 100, 50] == [len(said.text) for said in in_lines("w" * 250, ROOM, 100)]


def test_surplus_is_left_out_with_a_word() -> None:
    """So that nobody takes the beginning for the whole."""
    lines = [said.text for said in in_lines("\n".join(map(str, range(50))), ROOM, 10)]
    assert ["0", "1", "8", "[41 more lines were left out]"] == [*lines[:2], *lines[8:]]
    assert ["0", "1"] == [said.text for said in in_lines("0\n1", ROOM, 2)]


def test_indentation_is_kept() -> None:
    """Of code, say."""
    assert ["def f():", "    return 1"] == [said.text for said in in_lines("def f():\n\n    return 1  \n", ROOM, 9)]


@given(st.text())
def test_message_of_several_lines_is_whole(text: str) -> None:
    """Joined as the server is told to join them, the lines are the text."""
    said = in_one(text, ROOM, "max-bytes=100000,max-lines=10000")
    assert said is not None
    joined = said.pieces[0][0]
    for piece, goes_on in said.pieces[1:]:
        joined += piece if goes_on else f"\n{piece}"
    assert said.text == joined
    assert all(len(piece.encode()) <= ROOM for piece, _ in said.pieces)


@pytest.mark.parametrize("limits", ["max-bytes=5", "max-bytes=4096,max-lines=2", "max-bytes=x", ""])
def test_message_above_the_limits_of_the_server_is_sent_in_lines(limits: str) -> None:
    """Also where the server does not say what its limits are."""
    assert None is in_one("one\ntwo\nthree", ROOM, limits)


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("bot: hello", "hello"),
        ("BOT, hello", "hello"),
        ("@bot: hello", "hello"),
        ("  bot :hello", "hello"),
        ("bot hello", "bot hello"),
        ("hello bot", "hello bot"),
        ("hello, bot!", "hello, bot!"),
        ("bot:", "bot:"),
        ("robot: hello", None),
        ("bot-ng: hello", None),
        ("bottom", None),
        ("hello", None),
        ("bot[away]: hello", None),
    ],
)
def test_text_that_names_the_bot_is_heard(text: str, heard: str | None) -> None:
    """In front, with a colon or a comma, which is left out; else as a word of its own."""
    assert heard == addressed(text, "bot", "rfc1459")


def test_nick_with_odd_characters_is_named_as_any_other() -> None:
    """They are the same as others to the server."""
    assert "hello" == addressed("{b}^: hello", "[B]~", "rfc1459")


def test_room_counts_what_the_server_puts_before_a_line() -> None:
    """With the longest user and host while ours are not known."""
    frame = ":bot!bot@host.example PRIVMSG #room :\r\n"
    assert 512 - len(frame) == room_for("PRIVMSG", "#room", "bot", "bot@host.example")
    assert 512 - len(":bot PRIVMSG #room :\r\n") - 76 == room_for("PRIVMSG", "#room", "bot", "")
