"""The same turns beside other frameworks: one table of ratios from one run.

    uv run python tests/benchmarks/peers.py PROGRAMS ENVIRONMENTS [--rounds 3] [--only agno,langgraph]

PROGRAMS: a directory with a `peer_NAME.py` for each framework, which is called as `python peer_NAME.py SCENARIO` (turn,
tool, concurrent) and prints one JSON object: `{"versions": {...}, "cpu": {"median_us": ...}}`, for concurrent
`{"wall_s": ..., "peak_rss_mb": ...}`. It shall do with its framework's public API what `contestants.py` does here: the
same model that answers at once (or after 50 ms), the same tool `add`, a fresh session for each turn; 1,000 sessions x 3
turns x 1 tool for concurrent. ENVIRONMENTS: a directory with a virtual environment for each, `NAME/bin/python`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCENARIOS = {"turn": "turn", "tool": "tool", "sessions": "concurrent"}
"""Ours, and what the peers call it."""
TIMEOUT = 900


def run(command: list[str]) -> dict[str, Any] | None:
    """The JSON that a program prints last; None where it failed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            timeout=TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        print(f"{' '.join(command)} failed: {done.stderr[-300:]}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def ours(contestant: str, scenario: str) -> float | None:
    found = run([sys.executable, str(HERE / "contestants.py"), contestant, scenario])
    return None if found is None else float(found["wall_s"] if scenario == "sessions" else found["cpu_us"])


def theirs(program: Path, python: Path, scenario: str, versions: dict[str, str]) -> float | None:
    found = run([str(python), str(program), SCENARIOS[scenario]])
    if found is None:
        return None
    name = program.stem.removeprefix("peer_")
    versions[name] = ", ".join(f"{dist} {version}" for dist, version in found.get("versions", {}).items())
    return float(found["wall_s"] if scenario == "sessions" else found["cpu"]["median_us"])


def environment_of(program: Path, environments: Path) -> Path | None:
    """The environment whose name begins with the program's: `peer_pydantic_ai.py` runs in `pydantic-ai-slim`."""
    word = program.stem.removeprefix("peer_").replace("_", "-")
    found = sorted(path for path in environments.iterdir() if path.name.startswith(word))
    return found[0] / "bin" / "python" if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path)
    parser.add_argument("environments", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    only = set(filter(None, given.only.split(",")))
    programs = [
        path for path in sorted(given.programs.glob("peer_*.py")) if path.stem not in ("peer_floor", "peer_fairlead")
    ]
    figures: dict[str, dict[str, list[float]]] = {}
    versions: dict[str, str] = {}
    for number in range(given.rounds):
        for scenario in SCENARIOS:
            asked = {
                name: ours(contestant, scenario) for name, contestant in (("floor", "floor"), ("fairlead", "policy"))
            }
            for program in programs:
                python = environment_of(program, given.environments)
                if python is not None and (not only or program.stem.removeprefix("peer_") in only):
                    asked[program.stem.removeprefix("peer_")] = theirs(program, python, scenario, versions)
            for name, value in asked.items():
                if value is not None:
                    figures.setdefault(name, {}).setdefault(scenario, []).append(value)
            print(f"round {number + 1}: {scenario}", file=sys.stderr, flush=True)
    print_table(
        {name: {s: statistics.median(v) for s, v in found.items()} for name, found in figures.items()}, versions
    )


def print_table(figures: dict[str, dict[str, float]], versions: dict[str, str]) -> None:
    heads = ("turn, us", "with a tool, us", "1,000 sessions, s")
    print(f"{'':<18} {heads[0]:>14} {heads[1]:>20} {heads[2]:>22}   (ratio to fairlead with policies)")
    base = figures["fairlead"]
    for name, found in sorted(figures.items(), key=lambda item: item[1].get("tool", 0.0)):
        cells = [
            f"{found[scenario]:,.{2 if scenario == 'sessions' else 0}f} {found[scenario] / base[scenario]:>6.1f}x"
            if scenario in found
            else "failed"
            for scenario in SCENARIOS
        ]
        print(f"{name:<18} {cells[0]:>14} {cells[1]:>20} {cells[2]:>22}   {versions.get(name, '')}")


if __name__ == "__main__":
    main()
