"""How many tokens a request can be: never less than real texts have, and without reading an old message twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import pytest

from fairlead import Image, Message, ModelRequest, Text, ToolCall, ToolResult, ToolSpec
from fairlead_budgets._estimate import Estimates, output_bound

Item = Message | ToolResult


class Watched(Sequence[Item]):
    """A history that counts which of its items are looked at."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = list(items)
        self.looked = 0

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        raise AssertionError("the whole history is read")

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        found = self.items[index]
        self.looked += len(found) if isinstance(index, slice) and isinstance(found, list) else 1
        return found


def said(number: int, words: str = "a few words") -> Message:
    return Message("user", (Text(words),), id=f"m{number}")


def request(history: Sequence[Item], session: str = "s", **more: Any) -> ModelRequest:
    return ModelRequest("m", history, "Be brief.", session=session, **more)


@pytest.mark.parametrize("learns", [False, True])
def test_long_session_costs_no_more_than_a_short_one(learns: bool) -> None:  # noqa: FBT001  # a column of the table
    """Of ten thousand items at most four are looked at for each that is new."""
    estimates = Estimates()
    items = [said(number) for number in range(10_000)]
    estimates.input_tokens(request(items), "p/m")
    for number in range(20):
        items += [said(10_000 + number)]
        history = Watched(items)
        asked = request(history)
        estimates.input_tokens(asked, "p/m")
        if learns:
            estimates.learn(asked, "p/m", 50_000)
        assert history.looked <= 6


def test_figure_of_the_provider_stands_for_what_it_was_sent() -> None:
    """What was said since is estimated; another model counts for itself."""
    estimates = Estimates()
    items = [said(number) for number in range(100)]
    first = estimates.input_tokens(request(items), "p/m")
    estimates.learn(request(items), "p/m", 700)
    again = [*items, said(100, "x" * 300)]
    assert 700 + 158 == estimates.input_tokens(request(again), "p/m")
    assert first + 158 == estimates.input_tokens(request(again), "p/other")


def test_another_history_is_read_anew() -> None:
    """After a rollback, a compaction or a fork nothing of the old figures is left."""
    estimates = Estimates()
    items = [said(number, "x" * 2000) for number in range(100)]
    estimates.input_tokens(request(items), "p/m")
    estimates.learn(request(items), "p/m", 90_000)
    short = [said(500, "summary"), *items[-2:]]
    assert 2000 < estimates.input_tokens(request(short), "p/m") < 2200
    assert estimates.input_tokens(request(items), "p/m") > 100_000


def test_other_tools_or_instructions_are_counted() -> None:
    """The provider's figure was for the old ones."""
    estimates = Estimates()
    items = [said(0)]
    estimates.input_tokens(request(items), "p/m")
    estimates.learn(request(items), "p/m", 10)
    tools = (ToolSpec("search", "x" * 3000, {"type": "object", "description": "y" * 3000}),)
    assert estimates.input_tokens(request(items, tools=tools), "p/m") > 2000


def test_sessions_that_were_forgotten_are_read_once_more() -> None:
    """The figures of the last ones are kept."""
    estimates = Estimates(sessions=2)
    for session in ("a", "b", "c"):
        estimates.input_tokens(request([said(0)], session), "p/m")
        estimates.learn(request([said(0)], session), "p/m", 5000)
    assert [False, False, True] == [
        estimates.input_tokens(request([said(0)], session), "p/m") < 1000 for session in ("c", "b", "a")
    ]


@pytest.mark.parametrize("text", ["x" * 1000, "狐" * 1000, "é" * 1000, "🦊" * 1000, "\ud83d" * 1000])
def test_two_bytes_are_a_token(text: str) -> None:
    """More than vocabularies make of a text, but for random characters; half characters are counted as well."""
    assert len(text.encode("utf-8", "surrogatepass")) // 2 <= Estimates().input_tokens(request([said(0, text)]), "p/m")


def test_everything_that_is_sent_counts() -> None:
    """Calls, their arguments and results, pictures, a schema of the answer."""
    call = ToolCall("c", "search", {"query": "x" * 3000})
    items: list[Item] = [
        Message("assistant", (), calls=(call,)),
        ToolResult("c", "search", (Text("y" * 3000),)),
        Message("user", (Image("image/png", b"x" * 100_000),)),
    ]
    schema = {"type": "object", "description": "z" * 3000}
    assert 4500 + 10_000 < Estimates().input_tokens(request(items, output_schema=schema), "p/m") < 4700 + 10_000


@pytest.mark.parametrize(
    ("asked", "listed", "cap", "bound"),
    [
        (None, None, None, (4096, True)),
        (None, 900, None, (900, False)),
        (None, 900, 100, (100, True)),
        (50, 900, 100, (50, False)),
        (500, 900, 100, (100, True)),
        (500, None, None, (500, False)),
    ],
)
def test_bound_of_an_answer(asked: int | None, listed: int | None, cap: int | None, bound: tuple[int, bool]) -> None:
    """What the request says, what the configuration allows, what the model can; and whether it has to be said."""
    assert bound == output_bound(request([], max_output_tokens=asked), listed, cap)


def test_options_of_a_model_are_stronger_than_the_request() -> None:
    """Adapters send them as they are."""
    assert (7000, False) == output_bound(request([], options={"max_tokens": 7000}), 900, 100)
