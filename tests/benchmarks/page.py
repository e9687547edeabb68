"""The figures in the documentation: written between two marks, by the program that measured them, and never by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from figures import Part, markdown, with_goals

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "performance.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"


def write(parts: Iterable[Part], facts: Mapping[str, str]) -> None:
    """All tables into the page on performance; of the lines that have a goal, one table into the README."""
    parts = list(parts)
    told = f"Measured on {facts['date']}: {facts['machine']}; load before: {facts['load']}.\n{facts['versions']}.\n"
    replace(PAGE, told + "\n".join(markdown(parts)) + "\n")
    lines = ["| what | figure | goal |", "| --- | --- | --- |"]
    for row in with_goals(parts):
        value, ratio, goal, verdict = row.cells
        shown = f"{ratio} ({value})" if ratio else value
        lines.append(f"| {row.alone or row.what} | {shown} | {goal if verdict == 'met' else f'{goal}, {verdict}'} |")
    replace(README, "\n".join(lines) + "\n")


def replace(page: Path, text: str) -> None:
    """What stands between the marks of a page. `SystemExit`: it has none."""
    before, mark, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise SystemExit(f"{page} has no marks {BEGIN.strip()!r} and {END.strip()!r}")
    page.write_text(before + mark + text + end + after, "utf-8")
