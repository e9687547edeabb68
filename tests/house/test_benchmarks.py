"""Each benchmark runs, with numbers too small to measure anything: whoever wants figures finds programs that work."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from .checkout import ROOT

if TYPE_CHECKING:
    from pathlib import Path

HERE = ROOT / "tests" / "benchmarks"
sys.path.append(str(HERE))  # the programs import their neighbours

import page  # noqa: E402  # only found from here on
from figures import Row  # noqa: E402  # as above

LIMIT = 240.0
"""Seconds for a program that takes a few, on a busy machine."""


def run(*words: str, status: int = 0) -> str:
    """What a program says; it ends with that status."""
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=ROOT, timeout=LIMIT, check=False
    )
    assert status == done.returncode, done.stderr
    return done.stdout


def figures_of(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*words).splitlines()[-1])
    return found


def test_one_command_runs_all_parts(tmp_path: Path) -> None:
    """Beside the tables there is everything as JSON, with verdicts where there are goals."""
    small: tuple[str, ...] = (
        "--rounds",
        "1",
        "--count",
        "5",
        "--turns",
        "120",
        "--crowds",
        "3",
        "--directory",
        str(tmp_path),
    )
    small += ("--conversations", "3", "--messages", "2")
    said = run("-m", "tests.benchmarks", *small, "--json", str(tmp_path / "all.json"))
    told = json.loads((tmp_path / "all.json").read_text("utf-8"))
    titles = [part["title"] for part in told["parts"]]
    assert "A session that grows, CPU us of a turn" in titles
    assert "3 sessions at once" in titles
    verdicts = [row["verdict"] for part in told["parts"] for row in part.get("rows", ()) if row["goal"] is not None]
    assert verdicts
    assert all(verdicts)
    assert f"of {len(verdicts)} goals are met" in said


@pytest.mark.parametrize("scenario", ["turn", "tool", "grow", "crowd"])
def test_what_is_asked_of_other_frameworks_can_be_asked(scenario: str) -> None:
    """The loop on asyncio stands for them: it needs nothing that is not here."""
    found = figures_of(str(HERE / "peer_asyncio.py"), scenario, "--count", "6")
    assert {} == found["versions"]
    assert {"turn": "cpu_us", "tool": "cpu_us", "grow": "bytes_per_turn", "crowd": "p99_ms"}[scenario] in found


def test_two_messages_at_once_in_one_session_are_both_kept(tmp_path: Path) -> None:
    """As the table says of ours."""
    found = figures_of(str(HERE / "behaviours.py"), "race", "--directory", str(tmp_path))
    assert {"errors": [], "kept": ["first", "second", "third"]} == found


def test_a_turn_whose_process_was_killed_in_its_tool_goes_on_by_itself(tmp_path: Path) -> None:
    """As the table says of ours."""
    place = ("--directory", str(tmp_path))
    run(str(HERE / "behaviours.py"), "begin", *place, status=-signal.SIGKILL)
    found = figures_of(str(HERE / "behaviours.py"), "after", *place)
    assert {"errors": [], "kept": ["first", "second", "third"], "resumed": True} == found


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((1.6, 1.9, 1.7), "met"),
        ((1.6, 2.1, 2.2), "missed, within the noise"),
        ((2.05, 2.1, 2.2), "missed, within the noise"),
        ((2.1, 2.2, 2.3), "MISSED"),
    ],
)
def test_a_goal_is_surely_missed_only_where_every_round_missed_it(ratios: tuple[float, ...], verdict: str) -> None:
    """The median decides; what one round kept, or missed by a hair, may be the machine's fault."""
    row = Row("a turn", tuple(10 * ratio for ratio in ratios), "us", (10.0, 10.0, 10.0), 2.0)
    assert verdict == row.verdict


def test_figures_are_written_between_the_marks_of_a_page(tmp_path: Path) -> None:
    """Everything around them stays as it is."""
    path = tmp_path / "page.md"
    path.write_text(f"before\n{page.BEGIN}old\n{page.END}after\n", "utf-8")
    page.replace(path, "new\n")
    assert f"before\n{page.BEGIN}new\n{page.END}after\n" == path.read_text("utf-8")


@pytest.mark.parametrize("path", [page.PAGE, page.README], ids=lambda path: path.name)
def test_pages_have_the_marks(path: Path) -> None:
    """Or the figures could not be written."""
    text = path.read_text("utf-8")
    assert text.index(page.BEGIN) < text.index(page.END)
