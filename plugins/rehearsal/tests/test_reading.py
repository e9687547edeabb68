"""What is read out of a text: the requests that are meant, and nothing from the rest."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fairlead_rehearsal._reading import read

Read = list[tuple[str, Any]]

TEXTS: dict[str, Read] = {
    "What is 17 * 23, and what day of the week is 2027-03-01?": [
        ("calculate", {"expression": "17 * 23"}),
        ("weekday", {"date": "2027-03-01"}),
    ],
    "what is 17 * 23 and which weekday was 2027-03-01": [
        ("calculate", {"expression": "17 * 23"}),
        ("weekday", {"date": "2027-03-01"}),
    ],
    "Please compute 2+2 and 3 + 3.": [("calculate", {"expression": "2+2"}), ("calculate", {"expression": "3 + 3"})],
    "What is sqrt(16) + max(1, 2)?": [("calculate", {"expression": "sqrt(16) + max(1, 2)"})],
    "what is 5! + 2? And what is pi * 2^2?": [
        ("calculate", {"expression": "5! + 2"}),
        ("calculate", {"expression": "pi * 2^2"}),
    ],
    "12 x 4 plus 3": [("calculate", {"expression": "12 * 4 + 3"})],
    "how much is 15% of 80?": [("calculate", {"expression": "15% of 80"})],
    "10 divided by 4 =": [("calculate", {"expression": "10 / 4"})],
    "1e5 * 2": [("calculate", {"expression": "1e5 * 2"})],
    "1. What is 2+2\n2) what is 3+3\n\n- what is 4+4": [
        ("calculate", {"expression": "2+2"}),
        ("calculate", {"expression": "3+3"}),
        ("calculate", {"expression": "4+4"}),
    ],
    "What day is today?": [("weekday", {"date": "today"})],
    "What time is it?": [("now", {})],
    "what is today's date": [("now", {})],
    "What time is it in Europe/Berlin?": [("now", {"timezone": "Europe/Berlin"})],
    "How many days are there between 2027-01-01 and 2027-03-01?": [
        ("date_difference", {"start": "2027-01-01", "end": "2027-03-01"})
    ],
    "what date is 10 days after 2027-03-01": [("add_days", {"date": "2027-03-01", "days": 10})],
    "2 weeks before tomorrow": [("add_days", {"date": "tomorrow", "days": -14})],
    "30 days ago": [("add_days", {"date": "today", "days": -30})],
    "Remember that I like tea, milk and sugar. What is 2+2?": [
        ("remember", {"text": "I like tea, milk and sugar"}),
        ("calculate", {"expression": "2+2"}),
    ],
    "What is 2+2, and remember that I like tea, and milk": [
        ("calculate", {"expression": "2+2"}),
        ("remember", {"text": "I like tea, and milk"}),
    ],
    "What do you remember about tea?": [("recall", {"query": "tea"})],
    "search my notes for green tea": [("recall", {"query": "green tea"})],
    "recall": [("recall", {"query": ""})],
    "forget note 4f1c": [("forget", {"id": "4f1c"})],
    "repeat hello. What is 2+2?": [("say", "hello. What is 2+2?")],
    'say "hi there"': [("say", "hi there")],
    'say "a" and "b"': [("say", '"a" and "b"')],
    'use add {"a": 1,\n "b": [2]}': [("use", {"a": 1, "b": [2]})],
    "use now": [("use", {})],
    "Tell me a joke, and what is 2+2?": [("unknown", "Tell me a joke"), ("calculate", {"expression": "2+2"})],
    "": [("unknown", "")],
    "2027-03-01": [("unknown", "2027-03-01")],
    "42": [("unknown", "42")],
    "-42": [("unknown", "-42")],
    "What is the meaning of life, and why?": [("unknown", "What is the meaning of life, and why?")],
    "two plus two": [("unknown", "two plus two")],
    "use the force": [("unknown", "use the force")],
    "x = __import__('os')": [("unknown", "x = __import__('os')")],
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.items())
def test_text_is_read_as(text: str, expected: Read) -> None:
    """Several requests in their order; what is not understood stays as it is."""
    found = [(wish.kind, wish.text if wish.kind in ("say", "unknown") else dict(wish.arguments)) for wish in read(text)]
    assert expected == found


@pytest.mark.parametrize(
    "arguments", ["{bad", '{"a": NaN}', '{"a": 1, "a": 2}', "{" + '"a":[' * 100_000, '{"a": 1} and']
)
def test_arguments_that_are_no_json_are_told(arguments: str) -> None:
    """Strictly read, and bounded."""
    (wish,) = read(f"use add {arguments}"[:9_000])
    assert ("use", "add") == (wish.kind, wish.tool)
    assert wish.problem


def test_many_requests_are_bounded_and_the_rest_is_named() -> None:
    """A message does not become a thousand calls, and none is dropped without a word."""
    wishes = read("\n".join(f"what is {number} + 1" for number in range(50)))
    assert 20 == len(wishes)
    assert ("unknown", "31 more requests of one message") == (wishes[-1].kind, wishes[-1].text)


HOSTILE = [
    "what is ",
    ", and ",
    " and ",
    "; ",
    ". ",
    "? ",
    "(",
    ")",
    "1",
    " + ",
    " x ",
    " squared ",
    "please ",
    "use a {",
]
HOSTILE += ["[", "\n", "2027-03-01 ", "!", "- ", "İ"]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(HOSTILE), max_size=100).map("".join))
@example("please " * 1_400)
@example("(" * 10_000)
@example(" and " * 2_000)
@example(", and 1+1" * 1_100)
@example("1 x " * 2_500)
@example(" " * 10_000)
@example("a. " * 3_000)
@example("what " * 2_000 + "?" * 5_000)
@example("is" * 5_000)
@example("=" * 10_000)
@example("1." * 5_000)
@example('use a {"b": ' + "[" * 9_000)
def test_any_text_is_read_in_bounded_time(text: str) -> None:
    """The text is hostile: the longest that is taken apart takes well under a second."""
    began = time.perf_counter()
    wishes = read(text)
    assert 1 <= len(wishes) <= 20
    assert time.perf_counter() - began < 1
