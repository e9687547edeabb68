"""What budgets cost a turn: with the length of its session, with the size of the ledger, and with many at once.

Run it with ``uv run python tests/benchmarks/budgets.py``. The model answers at once, so all that is seen is ours; the
journal is in memory, so the only disk is the ledger's. Figures are medians of processor time, in milliseconds a turn:
the wait for the disk, twice a request, is not in them, and holds up nobody else.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import trio

import fairlead
from fairlead import App, ModelInfo
from fairlead.config import Config, LaneLimits, ModelRef, PluginConfig
from fairlead.testing import ScriptedProvider

PRICED = ModelInfo("m", window=1_000_000, max_output=1000, input_price=1.0, output_price=10.0)
LIMITS: dict[str, Any] = {
    "all": {"dollars": 1_000_000, "window": "day"},
    "person": {"scope": "principal", "tokens": 10**12},
    "session": {"scope": "session", "dollars": 1000, "rolling": "24h"},
}
TURNS = (10, 100, 1000)
AROUND = 20
"""Turns that are measured at each of these places."""
SESSIONS = 500


def config(directory: Path, *, budgets: bool) -> Config:
    """Three budgets, or none."""
    plugins = (PluginConfig("policies", "budgets", isolation="host", options={"limits": LIMITS}),) if budgets else ()
    models = {"default": (ModelRef("p", "m"),)}
    return Config(data_dir=directory, plugins=plugins, models=models, lanes=LaneLimits(interactive=SESSIONS))


async def growing(app: App) -> dict[int, float]:
    """Milliseconds of a turn at each length of one session."""
    taken: dict[int, list[float]] = {place: [] for place in TURNS}
    for turn in range(1, max(TURNS) + 1):
        began = time.process_time()
        await app.ask("How are you today? " * 5, session="long")
        for place in TURNS:
            if place - AROUND < turn <= place:
                taken[place].append((time.process_time() - began) * 1000)
    return {place: statistics.median(each) for place, each in taken.items()}


async def at_once(app: App) -> float:
    """Milliseconds a turn, where all sessions ask at the same time."""
    began = time.process_time()
    async with trio.open_nursery() as nursery:
        for number in range(SESSIONS):
            nursery.start_soon(partial(app.ask, "hi", session=f"s{number}"))
    return (time.process_time() - began) * 1000 / SESSIONS


async def measure(directory: Path, *, budgets: bool) -> tuple[dict[int, float], float, float]:
    """Both, and milliseconds of a turn once the ledger has all of that in it."""
    model = ScriptedProvider(["Fine, thank you."], repeat=True, name="p", models=[PRICED])
    async with fairlead.open(config(directory, budgets=budgets), providers=[model]) as app:
        grown, many = await growing(app), await at_once(app)
        after = []
        for number in range(AROUND):
            began = time.process_time()
            await app.ask("hi", session=f"after-{number}")
            after.append((time.process_time() - began) * 1000)
    return grown, many, statistics.median(after)


def main() -> None:
    """Print the table."""
    print(f"{'':>8} {''.join(f'turn {place}'.rjust(12) for place in TURNS)} {f'{SESSIONS} at once':>12} {'after':>12}")
    for name, budgets in (("without", False), ("with", True)):
        with tempfile.TemporaryDirectory() as directory:
            grown, many, after = trio.run(partial(measure, Path(directory), budgets=budgets))
        figures = [*grown.values(), many, after]
        print(f"{name:>8} {''.join(f'{figure:12.3f}' for figure in figures[:-2])} {many:12.3f} {after:12.3f}")


if __name__ == "__main__":
    main()
