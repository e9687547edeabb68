"""Which other frameworks there are, in which versions, and the tables of how they stand beside ours."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen
from figures import Grid, Part, Row, Section, shown
from rounds import Kept, values

PINS = {
    "agent_framework": ("agent-framework-core==1.23.0",),
    "agno": ("agno==3.1.10", "sqlalchemy==2.1.9", "aiosqlite==0.22.1", "greenlet==3.5.6"),
    "google_adk": ("google-adk==2.13.0", "aiosqlite==0.22.1"),
    "langgraph": ("langgraph==1.2.22", "langchain==1.4.7", "langgraph-checkpoint-sqlite==3.1.2"),
    "openai_agents": ("openai-agents==0.24.0",),
    "pydantic_ai": ("pydantic-ai-slim==2.68.0",),
    "smolagents": ("smolagents==1.26.0",),
    "strands": ("strands-agents==1.62.0",),
}
STORES = {
    "agent_framework": "FileHistoryProvider",
    "agno": "AsyncSqliteDb",
    "google_adk": "SqliteSessionService",
    "langgraph": "AsyncSqliteSaver",
    "openai_agents": "SQLiteSession",
    "pydantic_ai": "the caller's: JSON in SQLite",
    "strands": "FileSessionManager",
}
"""What keeps their sessions on a disk; smolagents ships nothing for it."""
OURS, FLOOR = "fairlead", "the loop by hand"
MARKS = {"10": "turn 10", "100": "turn 100", "1000": "turn 1,000", "3000": "turn 3,000", "last": "the last"}


@frozen
class Column:
    """One figure: in which job it is of ours, of the loop by hand, and which scenario it is of theirs."""

    head: str
    figure: str
    unit: str
    ours: str
    floor: str
    theirs: str


TURN = (
    Column("a turn", "cpu_us", "us", "policy turn", "floor turn", "turn"),
    Column("with a tool", "cpu_us", "us", "policy tool", "floor tool", "tool"),
    Column("durable, with a tool", "cpu_us", "us", "durable tool", "", "durable"),
    Column("its wall time", "wall_us", "us", "durable tool", "", "durable"),
)
CROWD = (
    Column("wall", "wall_s", "s", "policy crowd", "floor crowd", "crowd"),
    Column("CPU", "cpu_s", "s", "policy crowd", "floor crowd", "crowd"),
    Column("memory at the peak", "peak_mb", "MB", "policy crowd", "floor crowd", "crowd"),
    Column("of a session that waits", "idle_kb", "kB", "policy crowd", "floor crowd", "crowd"),
    Column("p99 of a turn", "p99_ms", "ms", "policy crowd", "floor crowd", "crowd"),
)


def parts(
    kept: Kept,
    versions: Mapping[str, str],
    behaviour: Mapping[str, Sequence[str]],
    failed: Mapping[str, str],
    sessions: int,
) -> Iterator[Part]:
    """All tables; `versions`: of the frameworks that ran, `failed`: what went wrong, by what was asked."""
    names = sorted(versions, key=lambda name: _median(kept, f"{name} tool", "cpu_us") or 0.0)
    told = {name: f"{name.replace('_', '-')} {PINS[name][0].partition('==')[2]}" for name in names}
    title = "A turn beside other frameworks, CPU time, and its ratio to ours with 100 rules and an observer on"
    yield Grid(title, ("", *(column.head for column in TURN)), tuple(_lines(kept, told, TURN)))
    title = f"{sessions:,} sessions at once beside other frameworks: 3 turns each, a tool in each, a model of 50 ms"
    yield Grid(title, ("", *(column.head for column in CROWD)), tuple(_lines(kept, told, CROWD)))
    heads = ("", "its store", *MARKS.values(), "which was", "a turn keeps in memory")
    yield Grid("A session that grows in its store, CPU us of a turn", heads, tuple(_growth(kept, told)))
    heads = ("", "two messages at once in one session", "killed inside a tool: the message", "its turn")
    lines = ((name, *behaviour[key]) for key, name in {OURS: OURS, **told}.items() if key in behaviour)
    yield Grid("How they behave", heads, tuple(lines))
    yield Section("The best of the others", tuple(_best(kept, names)), "ours")
    yield Grid("Their versions", ("", "with"), tuple((told[name], versions[name]) for name in names))
    if failed:
        yield Grid("What failed", ("", "with"), tuple(failed.items()))


def _best(kept: Kept, names: Sequence[str]) -> Iterator[Row]:
    """The least that any other needs, round by round; it should be more than ours.

    Not so where it is durable: some of them do not wait for the disk.
    """
    whats = {
        ("policy tool", "tool", "cpu_us", "us"): ("a turn with a tool", 1.0),
        ("policy crowd", "crowd", "wall_s", "s"): ("many sessions at once, wall", 1.0),
        ("durable tool", "durable", "cpu_us", "us"): ("a durable turn with a tool, CPU", None),
    }
    for (ours, theirs, figure, unit), (what, goal) in whats.items():
        base = values(kept, ours, figure)
        found = [each for name in names if len(each := values(kept, f"{name} {theirs}", figure)) == len(base)]
        if base and found:
            best = tuple(map(min, zip(*found, strict=True)))
            alone = f"{what}, 100 rules on: the best of {len(found)} other frameworks, against ours"
            yield Row(what, best, unit, base, goal, least=True, alone=alone)


def _median(kept: Kept, job: str, figure: str) -> float | None:
    found = values(kept, job, figure)
    return statistics.median(found) if found else None


def _cell(value: float | None, unit: str, ours: float | None = None) -> str:
    if value is None:
        return "-"
    return shown(value, unit) + (f" ({value / ours:.1f}x)" if ours else "")


def _lines(kept: Kept, told: Mapping[str, str], columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    ours = [_median(kept, column.ours, column.figure) for column in columns]

    def line(name: str, jobs: Sequence[str]) -> tuple[str, ...]:
        cells = zip(columns, jobs, ours, strict=True)
        return name, *(_cell(_median(kept, job, column.figure), column.unit, base) for column, job, base in cells)

    yield line(FLOOR, [column.floor for column in columns])
    yield OURS, *(_cell(value, column.unit) for column, value in zip(columns, ours, strict=True))
    if columns is CROWD:
        yield line(f"{OURS}, durable", ["durable crowd" for _ in columns])
    for name, words in told.items():
        yield line(words, [f"{name} {column.theirs}" for column in columns])


def _growth(kept: Kept, told: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    stores = {name: (told[name], STORES[name]) for name in told if name in STORES}
    for name, (words, store) in {"durable": (OURS, "sqlite"), **stores}.items():
        found = [_cell(_median(kept, f"{name} grow", f"cpu_us_{mark}"), "") for mark in MARKS]
        last = _median(kept, f"{name} grow", "reached")
        memory = _cell(_median(kept, f"{name} grow", "bytes_per_turn"), "bytes")
        yield words, store, *found, "-" if last is None else f"turn {last:,.0f}", memory
