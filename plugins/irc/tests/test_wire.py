"""Lines from bytes and to bytes: whatever the far side sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_irc._wire import LONGEST, Line, LineBuffer, fold, parse, plain, render, seconds_of


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"PING", Line("PING")),
        (b"ping :a b", Line("PING", ("a b",))),
        (b":irc.test 001 bot :Welcome to IRC", Line("001", ("bot", "Welcome to IRC"), "irc.test")),
        (b":a!b@c PRIVMSG #x :", Line("PRIVMSG", ("#x", ""), "a!b@c")),
        (b":a!b@c  PRIVMSG   #x  one", Line("PRIVMSG", ("#x", "one"), "a!b@c")),
        (b":a PRIVMSG #x ::) :)", Line("PRIVMSG", ("#x", ":) :)"), "a")),
        (b"@a=1;b;c= :s C", Line("C", (), "s", {"a": "1", "b": "", "c": ""})),
        (b"@t=a\\:b\\sc\\\\d\\r\\n\\x\\ C", Line("C", (), "", {"t": "a;b c\\d\r\nx"})),
        (b"@t=\\\\s C", Line("C", (), "", {"t": "\\s"})),
        (b":a P x :gr\xfc\xdfe", Line("P", ("x", "grüße"), "a")),
        (b":a P x :gr\xc3\xbc\xc3\x9fe", Line("P", ("x", "grüße"), "a")),
    ],
)
def test_line_is_parsed(raw: bytes, line: Line) -> None:
    """Tags, source, command and parameters; old encodings as well as they can be guessed."""
    assert line == parse(raw)


@pytest.mark.parametrize("raw", [b"", b" ", b":", b":a", b"@a", b"@a :b", b"\0\0", b"@ : "])
def test_what_is_no_line_is_none(raw: bytes) -> None:
    """Nothing is raised for it."""
    assert None is parse(raw)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_line_or_none(raw: bytes) -> None:
    """And a line can be asked for any parameter."""
    line = parse(raw)
    if line is not None:
        assert line.command
        assert "" == line.param(99) == line.param(-99)


@given(st.lists(st.binary(max_size=80).map(lambda raw: bytes(set(raw) - set(b"\r\n")))), st.data())
def test_lines_do_not_depend_on_how_they_arrive(lines: list[bytes], data: st.DataObject) -> None:
    """In any pieces, with any ends."""
    stream = b"".join(line + data.draw(st.sampled_from([b"\r\n", b"\n", b"\r\n\r\n"])) for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    buffer, found = LineBuffer(), list[bytes]()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += buffer.feed(stream[start:end])
    assert [line for line in lines if line] == found


def test_line_without_an_end_is_left_out_and_the_next_one_read() -> None:
    """However long it grows, no more than one line is kept."""
    buffer = LineBuffer()
    for _ in range(100):
        assert [] == buffer.feed(b"x" * 1000)
        assert len(buffer._rest) <= LONGEST + 1000  # noqa: SLF001  # the promise is about memory
    assert [b"PING"] == buffer.feed(b"xx\r\nPING\r\n")
    assert [b"PONG"] == buffer.feed(b"y" * (LONGEST + 1) + b"\r\nPONG\r\n")


@given(st.text(), st.text(st.characters(exclude_characters=" :", exclude_categories=["C", "Z"]), min_size=1))
def test_what_is_rendered_is_one_line(text: str, target: str) -> None:
    """No text can smuggle in a second one; and what can be said at all comes out as it went in."""
    raw = render("PRIVMSG", target, text)
    assert raw.endswith(b"\r\n")
    assert not set(raw[:-2]) & set(b"\r\n\0")
    line = parse(raw[:-2])
    assert line is not None
    if text.isprintable():
        assert (target, text) == line.params


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x02bold\x02 \x1ditalic\x1d \x1funder\x0f", "bold italic under"),
        ("\x0304,12red\x03 5", "red 5"),
        ("\x03123", "3"),
        ("\x03,5", ",5"),
        ("\x04ff0000red\x04 x", "red x"),
        ("a\tb\nc", "a\tb\nc"),
        ("\x16\x11\x1e\x7f\x1b[31m", "[31m"),
    ],
)
def test_colours_and_controls_are_left_out(text: str, shown: str) -> None:
    """Tabs and line breaks are not."""
    assert shown == plain(text)


def test_names_are_compared_as_the_server_does() -> None:
    """The pairs of the Scandinavian keyboard, where the server says so; the length stays, also with İ."""
    assert "{|}^a" == fold("[\\]~A")
    assert "{|}~a" == fold("[\\]~A", "rfc1459-strict")
    assert "[\\]~a" == fold("[\\]~A", "ascii")
    assert "{" == fold("[", "a mapping of the future")
    assert 2 == len(fold("İA"))


@pytest.mark.parametrize("text", ["", "yesterday", "2027-13-01T00:00:00.000Z", "999999999-01-01T00:00:00Z"])
def test_time_that_is_none_is_none(text: str) -> None:
    assert None is seconds_of(text)


def test_time_is_read_in_utc() -> None:
    assert 1_800_000_000.5 == seconds_of("2027-01-15T08:00:00.500Z")
