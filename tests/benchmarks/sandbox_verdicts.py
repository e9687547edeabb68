"""From the figures of `sandbox.py` to its table: every target with its ratio, its goal and whether it is met."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sandbox_table import (
    Figures,
    Row,
    median,
    milliseconds,
    quantile,
)

L0 = "fork"
FORK, HEAVY, EXEC, COLD, EGRESS = 6.0, 12.0, 15.0, 1.3, 1.5
ACQUIRE, LATE, FLOOD, GONE = 0.001, 0.05, 0.1, 1.0
"""Seconds."""
GROWTH = 8.0
"""MB."""
LEAST = 0.1
Table = Sequence[tuple[str, Sequence[Row]]]


def rows_of(figures: Figures, grown: float) -> Table:
    """Titles and lines. `grown`: MB by which the host grew during a flood."""
    return [
        ("A call", _calls(figures)),
        ("A container", _starts(figures)),
        ("A limit", _limits(figures, grown)),
        ("The way out", _egress(figures)),
    ]


def _against(figures: Figures, what: str, name: str, base: str, word: str, most: float | None = None) -> Row:
    """A ratio of two medians."""
    value, unit = median(figures, name), median(figures, base)
    if value is None or unit is None:
        return Row(what, "failed", met=False if most else None)
    goal = f"<= {most:g} x" if most else ""
    quick, quick_unit = quantile(figures[name], LEAST), quantile(figures[base], LEAST)
    least = f"p10 {milliseconds(quick)}, {quick / quick_unit:.1f} x"
    return Row(
        what, milliseconds(value), f"{value / unit:.1f} x {word}", goal, value / unit <= most if most else None, least
    )


def _below(figures: Figures, what: str, name: str, most: float, of: Callable[[Sequence[float]], float]) -> Row:
    """An absolute goal, in seconds."""
    if not (found := figures.get(name)):
        return Row(what, "failed", met=False)
    value = of(found)
    return Row(what, milliseconds(value), _share(value / most), f"<= {most * 1e3:g} ms", value <= most)


def _share(value: float) -> str:
    return f"{value:.2f} of the goal"


def _half(values: Sequence[float]) -> float:
    return float(quantile(values, 0.5))


def _most(values: Sequence[float]) -> float:
    return float(quantile(values, 0.95))


def _calls(figures: Figures) -> list[Row]:
    rows = [
        _against(figures, "a bare fork and its end (L0)", L0, L0, "L0"),
        _against(figures, "call, its process is ready", "call", L0, "L0", FORK),
        _against(figures, "call, right after another", "call at once", L0, "L0", FORK),
        _against(figures, "call of a tool that awaits, its process is ready", "awaits", L0, "L0", FORK),
        _against(figures, "call of a tool that awaits, right after another", "awaits at once", L0, "L0", FORK),
        _against(figures, "call of the heavy plugin, its process is ready", "heavy", L0, "L0", HEAVY),
        _against(figures, "call of the heavy plugin, right after another", "heavy at once", L0, "L0", HEAVY),
        _against(figures, "docker exec", "exec", L0, "L0"),
    ]
    call, other = median(figures, "call"), median(figures, "exec")
    if call and other:
        share = other / call
        rows.append(Row("docker exec against a call", "", f"{share:.1f} x a call", f">= {EXEC:g} x", share >= EXEC))
    rows.append(_below(figures, "a sandbox from the pool", "acquire", ACQUIRE, _half))
    return rows


def _starts(figures: Figures) -> list[Row]:
    bare = "bare start"
    return [
        _against(figures, "bare container, created and started", bare, bare, "bare"),
        _against(figures, "ours, started, its isolation read back", "started", bare, "bare", COLD),
        _against(figures, "ours, plugin imported, first call answered", "answered", bare, "bare", COLD),
        _against(figures, "bare container that imports the plugin", "bare import", bare, "bare"),
        _against(figures, "ours, first call answered, against that one", "answered", "bare import", "that", COLD),
        _against(figures, "an app's first call of a session, with its volume", "first call", bare, "bare"),
        _against(figures, "a container for each call", "container per call", "call", "a call"),
    ]


def _limits(figures: Figures, grown: float) -> list[Row]:
    return [
        _below(figures, "late after a timeout, p95", "late", LATE, _most),
        _below(figures, "a gigabyte of output, answered", "flood", FLOOD, _half),
        _below(figures, "the same, p95", "flood", FLOOD, _most),
        Row("the host grew by, at most", f"{grown:.2f} MB", _share(grown / GROWTH), f"< {GROWTH:g} MB", grown < GROWTH),
        _below(figures, "container gone after the host's SIGKILL, p95", "killed", GONE, _most),
    ]


def _egress(figures: Figures) -> list[Row]:
    return [
        _against(figures, "a connection each, server takes 0 ms", "proxy 0", "direct 0", "direct", EGRESS),
        _against(figures, "a connection each, server takes 20 ms", "proxy 20", "direct 20", "direct", EGRESS),
        _against(figures, "one connection, server takes 0 ms", "proxy kept", "direct kept", "direct", EGRESS),
    ]
