"""What was measured, as lines: a figure, its ratio, the goal and the verdict; for terminals, pages and programs."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

NEAR = 1.03
"""What passes a goal by so little is taken for noise."""
BUSY = 0.25
"""Of what its cores could do, by others."""
OURS = ("trio", "attrs", "pluggy", "jsonschema")


@frozen
class Row:
    """One line: a figure of each round, and where there is one, that of the yardstick in the same round."""

    what: str
    values: tuple[float, ...]
    unit: str = ""
    base: tuple[float, ...] = ()
    goal: float | None = None
    """Of the ratio where there is a base, else of the value."""
    least: bool = False
    """The goal is a least, not a most."""
    alone: str = ""
    """What it is called where it stands without its title."""

    @property
    def ratios(self) -> tuple[float, ...]:
        return tuple(value / base for value, base in zip(self.values, self.base, strict=True)) if self.base else ()

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """Of the pairs, round by round: a slow moment of the machine meets both."""
        return statistics.median(self.ratios) if self.base else None

    @property
    def verdict(self) -> str:
        """Empty without a goal. What any round kept, or missed by a hair, is no sure miss."""
        if self.goal is None:
            return ""
        judged = self.ratios or self.values
        if self._keeps(statistics.median(judged), self.goal):
            return "met"
        near = self.goal / NEAR if self.least else self.goal * NEAR
        return "missed, within the noise" if any(self._keeps(one, near) for one in judged) else "MISSED"

    def _keeps(self, figure: float, goal: float) -> bool:
        return figure >= goal if self.least else figure <= goal

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Figure, ratio, goal, verdict."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}x"
        goal = ""
        if self.goal is not None:
            sign = ">=" if self.least else "<="
            goal = f"{sign} {self.goal:g}x" if self.base else f"{sign} {shown(self.goal, self.unit)}"
        return shown(self.value, self.unit), ratio, goal, self.verdict


@frozen
class Section:
    """Some lines under one title."""

    title: str
    rows: tuple[Row, ...]
    against: str = ""
    """What the ratios are to."""


@frozen
class Grid:
    """A table of words: contestants down, what they did across."""

    title: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


Part = Section | Grid


def shown(value: float, unit: str) -> str:
    """A figure with as many digits as it is worth."""
    digits = 0 if abs(value) >= 100 or unit == "bytes" else 1 if abs(value) >= 10 else 2  # three digits
    return f"{value:,.{digits}f} {unit}".rstrip()


def machine() -> dict[str, str]:
    """What the figures belong to, and how busy it was before."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    if os.getloadavg()[0] > BUSY * (os.cpu_count() or 1):
        load += ": BUSY with other things, so do not trust these figures"
    ours = ", ".join(f"{name} {version(name)}" for name in ("fairlead-core", *OURS))
    system = f"{platform.system()} {platform.release()}"
    return {
        "machine": f"{os.cpu_count()} cores, {system}, Python {platform.python_version()}",
        "load": load,
        "versions": ours,
    }


# -- on a terminal


def print_parts(parts: Iterable[Part]) -> None:
    for part in parts:
        print(f"\n{part.title}" + (f", against {part.against}" if isinstance(part, Section) and part.against else ""))
        heads, lines = _lines(part)
        widths = [max(len(line[place]) for line in [heads, *lines]) for place in range(len(heads))]
        for line in [heads, *lines] if any(heads[1:]) else lines:
            first, *rest = (
                cell.ljust(width) if not place else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            print("  ".join(["", first, *rest]).rstrip())


def _lines(part: Part) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    if isinstance(part, Grid):
        return part.heads, list(part.lines)
    return ("", "figure", "ratio", "goal", ""), [(row.what, *row.cells) for row in part.rows]


# -- in Markdown, and as JSON


def markdown(parts: Iterable[Part]) -> Iterator[str]:
    """Lines of tables, each under its title."""
    for part in parts:
        against = f" (ratios to {part.against})" if isinstance(part, Section) and part.against else ""
        heads, lines = _lines(part)
        yield from ("", f"**{part.title}**{against}", "")
        yield f"| {' | '.join(heads)} |"
        yield f"| {' | '.join('---' for _ in heads)} |"
        yield from (f"| {' | '.join(line)} |".replace("  ", " ") for line in lines)


def write_json(path: Path, parts: Sequence[Part], facts: Mapping[str, Any]) -> None:
    """Everything, with each round's figures."""
    told = []
    for part in parts:
        one = asdict(part)
        if isinstance(part, Section):
            for row, line in zip(part.rows, one["rows"], strict=True):
                line |= {"median": row.value, "ratio": row.ratio, "verdict": row.verdict}
        told.append(one)
    path.write_text(json.dumps({**facts, "parts": told}, indent=1) + "\n", "utf-8")


def with_goals(parts: Iterable[Part]) -> Iterator[Row]:
    """The lines that have a goal."""
    for part in parts:
        if isinstance(part, Section):
            yield from (row for row in part.rows if row.goal is not None)


def sure_misses(parts: Iterable[Part]) -> list[str]:
    """The lines that missed their goal in every round."""
    return [row.alone or row.what for row in with_goals(parts) if row.verdict == "MISSED"]
