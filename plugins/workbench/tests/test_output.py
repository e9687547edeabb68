"""The two ends of a stream, and bytes as text."""

from __future__ import annotations

import tracemalloc

from hypothesis import example, given
from hypothesis import strategies as st

from fairlead_workbench._output import Output, as_text


@given(st.lists(st.binary(max_size=40), max_size=40), st.integers(10, 200))
@example([b"x" * 40] * 40, 10)
def test_what_fits_is_whole_and_the_rest_has_two_ends(pieces: list[bytes], limit: int) -> None:
    """In whatever pieces it comes."""
    output = Output(limit)
    for piece in pieces:
        output.add(piece)
    whole = b"".join(pieces)
    assert len(whole) == output.total
    if len(whole) <= limit:
        assert as_text(whole) == output.text()
    else:
        assert "bytes left out ...]" in output.text()


@given(st.text(alphabet="aü€\U0001f9ed", max_size=200), st.integers(10, 100))
def test_no_character_is_cut_in_two(text: str, limit: int) -> None:
    """At neither end."""
    output = Output(limit)
    output.add(text.encode())
    assert "\\x" not in output.text()


@given(st.binary(max_size=300))
def test_any_bytes_are_text_without_control_characters(data: bytes) -> None:
    """But line ends and tabs."""
    text = as_text(data)
    text.encode("utf-8")
    assert all(char in "\n\t" or ord(char) >= 32 for char in text)


def test_flood_takes_the_memory_of_what_is_kept() -> None:
    """1 GB in small and in large pieces."""
    for size in (1, 65_536):
        piece = b"x" * size
        output = Output(100_000)
        output.add(b"x" * 100_000)
        tracemalloc.start()
        for _ in range(16_384):
            output.add(piece)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3_000_000


def test_last_line_is_what_a_terminal_would_show_last() -> None:
    """Without colours, and only lines that have something."""
    output = Output(1_000)
    assert "" == output.last_line()
    output.add(b"one\n\x1b[32mtwo\x1b[0m\n  \n\n")
    assert "two" == output.last_line()
    output.add(b"10%\r20%")
    assert "20%" == output.last_line()
    output.add(b"\xff" * 900)
    assert len(output.last_line()) <= 200
