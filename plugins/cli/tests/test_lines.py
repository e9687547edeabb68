"""Lines from a file descriptor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from fairlead_cli._lines import DescriptorLines

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


def no_prompt(prompt: str) -> None:
    del prompt


async def test_lines_come_one_by_one(pipe: tuple[int, int]) -> None:
    """Also when several arrive at once, or one arrives in pieces in the middle of a character."""
    prompts: list[str] = []
    lines = DescriptorLines(pipe[0], prompts.append)
    os.write(pipe[1], "one\ntwo\r\nth\u00fc".encode()[:-1])
    assert ["one", "two"] == [await lines.next("> "), await lines.next("> ")]
    os.write(pipe[1], "\u00fc".encode()[1:] + b"ree\n")
    assert "th\u00fcree" == await lines.next("> ")
    assert ["> "] * 3 == prompts


async def test_end_of_input_is_none(pipe: tuple[int, int]) -> None:
    """After a last line without an end; bytes that are no UTF-8 are replaced."""
    lines = DescriptorLines(pipe[0], no_prompt)
    os.write(pipe[1], b"last \xff")
    os.close(pipe[1])
    assert "last \ufffd" == await lines.next("")
    assert await lines.next("") is None


async def test_reading_can_be_cancelled(pipe: tuple[int, int]) -> None:
    """Nothing blocks, and the next reader gets the next line."""
    lines = DescriptorLines(pipe[0], no_prompt)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lines.next, "")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    os.write(pipe[1], b"after\n")
    assert "after" == await lines.next("")


async def test_plain_files_can_be_read(tmp_path: Path) -> None:
    """The system has no event for them: they are always ready."""
    file = tmp_path / "questions.txt"
    file.write_text("one\ntwo\n", "utf-8")
    descriptor = os.open(file, os.O_RDONLY)
    try:
        lines = DescriptorLines(descriptor, no_prompt)
        assert ["one", "two", None] == [await lines.next("") for _ in range(3)]
    finally:
        os.close(descriptor)
