"""Several processes on one ledger: SIGKILL, and who is first."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fairlead_budgets.operations import audit, entries, report

from .spending import one, opened, table

CHILD = Path(__file__).with_name("child.py")


@contextmanager
def child(command: str, directory: Path, name: str = "x", **options: Any) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, str(CHILD), command, str(directory), name, json.dumps(options)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    text = process.stdout.readline().strip()
    assert text, "the child ended without a word; its error is above"
    return json.loads(text)


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


async def test_what_a_killed_process_had_reserved_counts_as_spent(tmp_path: Path) -> None:
    """Nobody can know what became of the two; the one that was settled is what it was, and doctor says so."""
    limits = {"day": {"dollars": 5, "window": "total"}}
    with child("hold", tmp_path, limits=limits) as process:
        assert "held" == line(process)
        async with opened(tmp_path, limits=limits) as beside:
            assert 0 == beside.lost, "it lives"
            assert 2 == one(tmp_path, limits=limits).held_requests
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = one(tmp_path, limits=limits)
    async with opened(tmp_path, limits=limits) as policy:
        assert 2 == policy.lost
        (finding,) = await policy.check()
    after = one(tmp_path, limits=limits)
    assert (1, 2, 3, 0) == (before.used_requests, before.held_requests, after.used_requests, after.held_requests)
    assert round(before.used_dollars + before.held_dollars, 9) == round(after.used_dollars, 9)
    assert "requests of a process that died, counted as spent: 2" in finding.detail
    assert ["lost", "lost"] == [entry.kind for entry in entries(table(tmp_path, limits=limits), "day")][:2]
    assert [2] == [row.unknown for row in report(table(tmp_path), "principal", 0)]
    assert () == audit(table(tmp_path)).faults


def test_processes_share_a_budget_exactly(tmp_path: Path) -> None:
    """Three ask for a hundred each, all at once, against a budget for ten: ten pass in all."""
    limits = {"ten": {"requests": 10, "window": "total"}}
    with ExitStack() as stack:
        children = [stack.enter_context(child("race", tmp_path, f"c{place}", limits=limits)) for place in range(3)]
        assert ["ready"] * 3 == [line(process) for process in children]
        for process in children:
            tell(process)
        assert 10 == sum(line(process) for process in children)
        assert 10 == one(tmp_path, limits=limits).held_requests
    assert () == audit(table(tmp_path)).faults


@pytest.mark.parametrize("lines", [1, 2, 7, 20])
async def test_ledger_survives_a_kill_at_any_moment(tmp_path: Path, lines: int) -> None:
    """What was acknowledged is in it, once; at most one more request was under way."""
    limits = {"all": {"dollars": 1000, "window": "total"}}
    with child("spend", tmp_path, limits=limits) as process:
        seen = [line(process) for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        seen += [json.loads(text) for text in process.stdout.read().split("\n")[:-1]]
    settled = sum(kind == "settled" for kind, _ in seen)
    async with opened(tmp_path, limits=limits) as policy:
        lost = policy.lost
    found = audit(table(tmp_path))
    assert () == found.faults
    assert 0 == found.held
    (row,) = report(table(tmp_path), "principal", 0)
    assert lost <= 1
    assert lost == row.unknown
    assert settled <= row.requests - lost <= settled + 1
    assert row.requests == found.requests
