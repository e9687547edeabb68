"""The host is killed in the middle of a call: nothing is left running, and nothing happens twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

import fairlead
from fairlead import Settings, ToolResult
from fairlead.config import PluginConfig
from fairlead.events import ToolReturned, TurnEnded
from fairlead.testing import CapturingChannel, RecordingObserver, ScriptedProvider
from fairlead_sqlite import SqliteMemory

from ..workspace import ROOT
from .engine import containers_of, within
from .hosted import configure, obey
from .installed import install
from .ledger import FILES, NAME

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker", "root")]
SECONDS = 30.0


@pytest.fixture(autouse=True)
def _ledger(packages: Path) -> None:
    install(packages, NAME, {"tools": "acme_ledger"}, FILES)


def entries(data: Path) -> int:
    """Lines in the ledger, as the host finds them."""
    return sum(len(file.read_text().splitlines()) for file in data.glob("workspaces/*/work/files/ledger"))


@contextmanager
def victim(packages: Path, data: Path, seconds: float, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A host in a process of its own, in the middle of a call that takes so long."""
    order = json.dumps({"tool": "enter", "arguments": {"seconds": seconds}})
    command = [sys.executable, "-m", "tests.sandbox.ledger", str(data), order, *options]
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(data: Path) -> Sequence[ToolResult]:
    """The next process takes over what the dead one left; the results of its calls."""

    async def main() -> Sequence[ToolResult]:
        seen = RecordingObserver()
        async with fairlead.open(
            configure(data, PluginConfig("tools", NAME)),
            providers=[ScriptedProvider([obey], repeat=True)],
            memories=[SqliteMemory(Settings("sqlite", {}, data))],
            channels=[CapturingChannel()],
            observers=[seen],
        ) as app:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(app.serve)
                with trio.fail_after(SECONDS):
                    await seen.wait_for(TurnEnded)
                nursery.cancel_scope.cancel()
            await app.ask(json.dumps({"tool": "entries", "arguments": {}}), session="s")
            records = await app.sessions.records("s")
        return [record.event.result for record in records if isinstance(record.event, ToolReturned)]

    return trio.run(main)


def test_recorded_result_is_given_again_and_nothing_happens_twice(packages: Path, tmp_path: Path) -> None:
    """Killed after the effect, before the journal had the result: the next process gets it from the record."""
    data = tmp_path / "data"
    with victim(packages, data, 0.0, "dies") as host:
        assert -9 == host.wait(SECONDS)
    entered, counted = finish(data)
    assert ("", "written", True) == (entered.error, entered.text, entered.evidence.get("repeated")), entered
    assert ("", "1") == (counted.error, counted.text)


def test_call_that_did_not_end_is_unknown_and_not_repeated(packages: Path, tmp_path: Path) -> None:
    """Killed while the tool sleeps behind its effect; the container is gone within a second."""
    data = tmp_path / "data"
    with victim(packages, data, 20.0) as host:
        assert within(SECONDS, lambda: entries(data))
        assert containers_of(host.pid)
        host.kill()
        host.wait(SECONDS)
        assert within(1.0, lambda: not containers_of(host.pid)), "a container was left after a second"
    entered, counted = finish(data)
    assert "unknown" == entered.error, entered
    assert "not known" in entered.text
    assert ("", "1") == (counted.error, counted.text)
