"""Text of others on a terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from fairlead_cli._text import escape, one_line, show_arguments, show_cost, show_evidence, split_next_step, with_subject

FAMILY = "\U0001f469\u200d\U0001f680"
PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"


def test_plain_words_stay() -> None:
    """Every script stays as it is, with newlines and tabs."""
    text = "one\n\ttwo \u4e2d\u6587 \u00fcml\u00e4ut e\u0301 \U0001f9ed"
    assert text == escape(text)


def test_terminal_commands_are_spelled_out() -> None:
    """Colours, cursor moves, titles, the clipboard: none of them reaches the terminal."""
    assert "\\x1b[31mred\\x1b]52;c;aGk=\\x07" == escape("\x1b[31mred\x1b]52;c;aGk=\x07")
    assert "\\x9b2J\\x08\\x7f\\x00" == escape("\x9b2J\x08\x7f\x00")


def test_carriage_returns_are_left_out() -> None:
    """They would write over what stands on the line."""
    assert "transfer 9 EUR\ntransfer 1 EUR" == escape("transfer 9 EUR\r\ntransfer 1 EUR\r")


def test_order_and_width_cannot_be_forged() -> None:
    """Bidi controls and characters of no width are spelled out, tags and fillers too."""
    assert "a\\u202eb\\u2066c\\u200fd" == escape("a\u202eb\u2066c\u200fd")
    assert "a\\u200bb\\ufeffc\\u2060d\\xad" == escape("a\u200bb\ufeffc\u2060d\xad")
    assert "x\\U000e0041\\u3164\\U000e0101\\u2028" == escape("x\U000e0041\u3164\U000e0101\u2028")


def test_joiners_stay_where_they_join() -> None:
    """Emoji and Persian words need them; in a word of Latin letters they only hide something."""
    assert FAMILY == escape(FAMILY)
    assert PERSIAN == escape(PERSIAN)
    assert "pass\\u200dword" == escape("pass\u200dword")


def test_joiner_at_the_start_of_a_piece_is_judged_by_what_was_before() -> None:
    """An answer comes in pieces."""
    assert FAMILY == escape(FAMILY[:1]) + escape(FAMILY[1:], FAMILY[0])


@given(st.text(), st.integers(min_value=0, max_value=20))
def test_pieces_make_the_whole(text: str, cut: int) -> None:
    """Escaping piece by piece gives the same as escaping at once, wherever it is cut."""
    assert escape(text) == escape(text[:cut]) + escape(text[cut:], text[:cut][-1:])


@given(st.text(alphabet=st.characters(categories=["Cc", "Cf", "Cs", "Co", "Zl", "Zp"]), max_size=30))
def test_nothing_that_hides_comes_through(text: str) -> None:
    """Of these categories only the newline and the tab are printed."""
    left = [char for char in escape(text) if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]
    assert set(left) <= {"\n", "\t"}


def test_one_line_is_flat_and_short() -> None:
    """However long the text is, and whatever is in it."""
    assert "a b \\x1b c" == one_line("a\n\n b \x1b c")
    assert "aaaa…" == one_line("a" * 100, 5)


def test_arguments_look_like_a_call() -> None:
    """Names and JSON values; what is no object is shown as it came."""
    assert 'expression="17 * 23", exact=true' == show_arguments({"expression": "17 * 23", "exact": True})
    assert "not json" == show_arguments("not json")
    assert "" == show_arguments({})


def test_cost_is_readable() -> None:
    """Small sums keep their figures; an unknown price is no price."""
    assert ["", "$0.0031", "$12.50"] == [show_cost(None), show_cost(0.0031), show_cost(12.5)]


def test_subject_is_said_once() -> None:
    """Errors of plugins begin with the plugin already."""
    assert "tools/x: broken" == with_subject("tools/x", "broken")
    assert "tools/x (acme 1.0) is broken" == with_subject("tools/x", "tools/x (acme 1.0) is broken")


def test_process_is_shown_with_the_layers_that_hold_it() -> None:
    """Those that the evidence has, and none that it lacks."""
    proof = {"level": "process", "pid": 7, "bubblewrap": True, "seccomp": True, "landlock": 7, "cgroup": None}
    assert "in a process: pid 7, behind bubblewrap + seccomp + landlock" == show_evidence(proof)
    bare = {"level": "process", "pid": 7, "bubblewrap": False, "seccomp": False, "landlock": 0}
    assert "in a process: pid 7, behind nothing but its limits" == show_evidence(bare)


def test_command_that_helps_is_parted_from_what_went_wrong() -> None:
    """It is a line of its own: cut off in the middle it helps nobody."""
    assert ("no engine", "sudo dockerd &") == split_next_step("no engine Next: sudo dockerd &")
    assert ("no engine", "sudo dockerd &") == split_next_step("no engine\n  next: sudo dockerd &")
    assert ("all is well", "") == split_next_step("all is well")
    assert ("next: is a word\nhere", "") == split_next_step("next: is a word\nhere")
