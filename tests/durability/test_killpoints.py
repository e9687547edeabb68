"""Killed at any write, fsync, truncate, rename, delete or create: nothing acknowledged is lost, nothing happens twice.

A sample of the points; `FAIRLEAD_KILL_POINTS=all` runs them all, some thirty thousand in an hour or two.
"""

from __future__ import annotations

import faulthandler
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from .killpoints.waits import WORKLOADS
from .traced import ROOT, STRACE, alone, injecting, needs_strace, told_in, wrong_after

POINTS = os.environ.get("FAIRLEAD_KILL_POINTS", "180")
CALLS = {
    "pwrite64": "write",
    "write": "write",
    "fsync": "sync",
    "fdatasync": "sync",
    "ftruncate": "truncate",
    "unlink": "delete",
}
TRACED = f"{','.join(CALLS)},openat,rename,unlinkat"


def test_whatever_point_a_process_dies_at(tmp_path: Path) -> None:
    """In each workload the law of conservation holds when the next process has come to rest."""
    faulthandler.cancel_dump_traceback_later()  # all points take longer than a test may; each has a limit of its own
    command = [sys.executable, "-m", "tests.durability.killpoints.run", "--points", POINTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    (tmp_path / "said").write_text(done.stdout)
    assert 0 == done.returncode, done.stdout[-5000:] + done.stderr[-5000:]
    assert f" of {len(WORKLOADS)} workloads" in done.stdout
    assert ", 0 faults," in done.stdout


def seen_by_kernel(trace: str, files: Path) -> Counter[tuple[str, str]]:
    """The calls that changed files below the directory; not the shared memory of SQLite, which no disk ever sees."""
    found: Counter[tuple[str, str]] = Counter()
    for line in trace.splitlines():
        call = re.match(r"(?:\d+ +)?(\w+)\((.*)", line)
        if call is None or str(files) not in call[2] or "-shm" in call[2] or " = -1 " in line:
            continue
        name, rest = call.groups()
        path = re.search(r'<([^>]+)>|"([^"]+)"', rest)
        if name in CALLS and path is not None:
            found[CALLS[name], Path(path[1] or path[2]).name] += 1
    return found


@needs_strace
@pytest.mark.parametrize("workload", ["chat", "erased", "budgeted"])
def test_trap_sees_what_the_kernel_sees(workload: str, tmp_path: Path) -> None:
    """Each call that changes a file is an act, by its kind and file; so there is no point between that was left out."""
    trace = tmp_path / "trace"
    directory = tmp_path / "life"
    assert 0 == alone(workload, directory, STRACE, "-f", "-y", "-qq", "-e", f"trace={TRACED}", "-o", str(trace))
    acts = next(words[2] for words in told_in(directory) if words[0] == "acts")
    counted = Counter((kind, on) for kind, on, _ in acts if kind not in ("outside", "create"))
    seen = seen_by_kernel(trace.read_text(), directory / "files")
    # Deleting a file of SQLite also waits for its directory: one act, two calls.
    for name in ("sqlite", "budgets"):
        seen["sync", name] = counted["sync", name]
    assert dict(+seen) == dict(+counted)
    assert sum(counted.values()) > 100


@needs_strace
@pytest.mark.parametrize(("call", "places"), [("pwrite64", (40, 75)), ("fdatasync", (9, 14)), ("unlink", (2,))])
def test_killed_by_the_kernel_at_a_call(call: str, places: tuple[int, ...], tmp_path: Path) -> None:
    """The same law where the tracer kills, and no code of ours knows of it."""
    for place in places:
        directory = tmp_path / str(place)
        status = alone("tool_that_runs_once", directory, *injecting(f"{call}:signal=SIGKILL:when={place}"))
        assert status in (-9, 137), f"{call} {place} was not reached: {status}"
        assert 0 == alone("tool_that_runs_once", directory)
        assert [] == wrong_after("tool_that_runs_once", directory)
