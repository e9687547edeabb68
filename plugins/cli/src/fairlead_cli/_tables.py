"""Tables of text that others wrote."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairlead_cli._text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fairlead_cli._screen import Screen

__all__ = ["moment", "table"]

_PIPE_WIDTH = 10_000
"""Columns where nobody looks: `grep` and `awk` shall find whole lines."""


def table(screen: Screen, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below headings; every cell is escaped, and folded where the terminal is too narrow."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(one_line(cell, 400)) for cell in row))
    screen.end_answer()
    width = None if screen.terminal else _PIPE_WIDTH
    console = Console(file=screen.out, width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(made)
    screen.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def moment(seconds: float) -> str:
    """A time in UTC, as people and programs read it: ``2027-03-01 09:30:00``; of Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
