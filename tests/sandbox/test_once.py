"""The host is killed in the middle of a call: nothing is left running, and nothing happens twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import fairlead
from fairlead import Settings, ToolResult
from fairlead.config import PluginConfig
from fairlead.events import ToolReturned, TurnEnded
from fairlead.testing import CapturingChannel, RecordingObserver, ScriptedProvider
from fairlead_sqlite import SqliteMemory

from ..workspace import ROOT
from .engine import containers_of, descendants, lives, within
from .hosted import configure, obey
from .installed import install
from .ledger import FILES, NAME

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker", "root")]
CONTAINER: Mapping[str, Any] = {}
PROCESS: Mapping[str, Any] = {"fallback": "process"}
NOWHERE = {"DOCKER_HOST": "unix:///nonexistent"}
SECONDS = 30.0


@pytest.fixture(autouse=True)
def _ledger(packages: Path) -> None:
    install(packages, NAME, {"tools": "acme_ledger"}, FILES)


def entries(data: Path) -> int:
    """Lines in the ledger, as the host finds them."""
    ledgers = [*data.glob("workspaces/*/work/files/ledger"), *data.glob(f"work/tools-{NAME}.sessions/*/ledger")]
    return sum(len(file.read_text().splitlines()) for file in ledgers)


@contextmanager
def victim(
    packages: Path, data: Path, seconds: float, isolation: Mapping[str, Any], *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A host in a process of its own, in the middle of a call that takes so long."""
    order = json.dumps({"tool": "enter", "arguments": {"seconds": seconds}})
    command = [sys.executable, "-m", "tests.sandbox.ledger", str(data), order, json.dumps(isolation), *options]
    environment = {**os.environ, "PYTHONPATH": str(packages), **(NOWHERE if isolation else {})}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(data: Path, isolation: Mapping[str, Any] = CONTAINER) -> Sequence[ToolResult]:
    """The next process takes over what the dead one left; the results of its calls."""

    async def main() -> Sequence[ToolResult]:
        seen = RecordingObserver()
        async with fairlead.open(
            configure(data, PluginConfig("tools", NAME), **isolation),
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
    with victim(packages, data, 0.0, CONTAINER, "dies") as host:
        assert -9 == host.wait(SECONDS)
    entered, counted = finish(data)
    assert ("", "written", True) == (entered.error, entered.text, entered.evidence.get("repeated")), entered
    assert ("", "1") == (counted.error, counted.text)


def test_call_that_did_not_end_is_unknown_and_not_repeated(packages: Path, tmp_path: Path) -> None:
    """Killed while the tool sleeps behind its effect; the container is gone within a second."""
    data = tmp_path / "data"
    with victim(packages, data, 20.0, CONTAINER) as host:
        assert within(SECONDS, lambda: entries(data))
        assert containers_of(host.pid)
        host.kill()
        host.wait(SECONDS)
        assert within(1.0, lambda: not containers_of(host.pid)), "a container was left after a second"
    entered, counted = finish(data)
    assert "unknown" == entered.error, entered
    assert "not known" in entered.text
    assert ("", "1") == (counted.error, counted.text)


def test_process_in_the_place_of_a_container_repeats_nothing(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps no record, so the call is unknown; the plugin's process is gone with the host."""
    data = tmp_path / "data"
    with victim(packages, data, 0.0, PROCESS, "dies") as host:
        assert -9 == host.wait(SECONDS)
    monkeypatch.setenv(*next(iter(NOWHERE.items())))
    entered, counted = finish(data, PROCESS)
    assert "unknown" == entered.error, entered
    assert ("", "1", "process") == (counted.error, counted.text, counted.evidence["level"])


def test_killed_host_leaves_no_plugin_process(packages: Path, tmp_path: Path) -> None:
    """In the middle of a call that blocks: within a second its whole tree is gone."""
    data = tmp_path / "data"
    with victim(packages, data, 20.0, PROCESS) as host:
        assert within(SECONDS, lambda: entries(data))
        processes = descendants(host.pid)
        assert processes
        host.kill()
        host.wait(SECONDS)
        assert within(1.0, lambda: not any(lives(pid) for pid in processes))
