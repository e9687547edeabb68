"""Wheels that were built for version 1.0 of the plugin API, used as they are."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import trio

import fairlead
from fairlead import Observer, Secret, ToolResult, hookspecs
from fairlead.config import Agent, Config, ModelRef, PluginConfig
from fairlead.errors import PluginVersionError
from fairlead.events import AnswerDelivered, Record
from fairlead.plugins import installed
from fairlead.testing import ScriptedProvider, calls

from .wheels import GOLDEN, GOLDEN_ASYNCIO, HERE, code_in, unpacked

LATER = ["1.0", hookspecs.API_VERSION, "1.2", "1.9", "1.10"]
"""Versions of the API that have all that 1.0 had: this one, and what others may be called."""
LIMIT = 30.0
"""Seconds for what takes one or two, on a busy machine."""


def golden_tables() -> tuple[PluginConfig, ...]:
    options: dict[str, dict[str, Any]] = {"channels": {"says": ["hello"]}, "tools": {"token": Secret("a secret", "x")}}
    kinds: tuple[Any, ...] = ("channels", "memories", "policies", "providers", "tools")
    return tuple(PluginConfig(kind, "golden", isolation="host", options=options.get(kind, {})) for kind in kinds)


class Delivered(Observer):
    """Knows when the answer was delivered."""

    name = "delivered"

    def __init__(self) -> None:
        self.event = trio.Event()

    async def observe(self, record: Record) -> None:
        if isinstance(record.event, AnswerDelivered):
            self.event.set()


async def serve(data: Path) -> tuple[dict[str, str], list[str]]:
    """What became of each plugin, and what the channel of the wheel has kept, once it has its answer."""
    models = {"default": (ModelRef("golden", "rules"),)}
    config, delivered = Config(data_dir=data, plugins=golden_tables(), models=models), Delivered()
    with trio.fail_after(LIMIT):
        async with fairlead.open(config, observers=[delivered]) as app, trio.open_nursery() as nursery:
            nursery.start_soon(app.serve)
            reports = {report.plugin: str(report.error or report.status) for report in app.reports}
            await delivered.event.wait()
            # Observers delay nobody, and those of the wheel may lag.
            while "answer_delivered" not in observed(data):  # noqa: ASYNC110  # it is another one's file
                await trio.sleep(0.01)  # real time: the file is written by threads
            app.stop()
    return reports, (data / "answers.txt").read_text("utf-8").splitlines()


def observed(data: Path) -> set[str]:
    file = data / "events.txt"
    return set(file.read_text("utf-8").split()) if file.exists() else set()


@pytest.mark.parametrize("version", LATER)
async def test_wheel_of_version_1_0_runs_a_turn(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its channel hands in, its policy reviews, its model asks, its tool and memory work, its observer sees it."""
    monkeypatch.setattr(hookspecs, "API_VERSION", version)
    with unpacked(GOLDEN, tmp_path / "site"):
        reports, kept = await serve(tmp_path / "data")
    assert {"ready"} == set(reports.values()), reports
    assert 5 == len(reports)
    assert ["hello: accepted, duplicate", "answer: it has 5 letters and 1 notes."] == kept
    assert {"session_started", "message_accepted", "tool_returned"} <= observed(tmp_path / "data")


@pytest.mark.parametrize(("version", "wanted"), [("2.0", "1.0"), ("3.4", "1.0")])
def test_next_major_version_refuses_it_before_it_is_imported(
    version: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both versions are named."""
    monkeypatch.setattr(hookspecs, "API_VERSION", version)
    with unpacked(GOLDEN, tmp_path / "site") as imported:
        problems = {plugin.problem for plugin in installed() if plugin.name == "golden"}
    assert {f"fairlead-golden 1.0 needs version {wanted} of the plugin API; this core offers {version}"} == problems
    assert [] == imported


@pytest.mark.parametrize("wanted", ["2.0", ">=2.0,<3", ">=1.0,<1.1", "1.99"])
async def test_wheel_that_needs_another_version_is_refused_before_it_is_imported(wanted: str, tmp_path: Path) -> None:
    """The app starts without it, and says which version the plugin wants and which one there is."""
    future = future_wheel(tmp_path / "fairlead_future-3.0-py3-none-any.whl", wanted)
    table = PluginConfig("tools", "future", isolation="host")
    with unpacked(future, tmp_path / "site") as imported:
        async with fairlead.open(Config(data_dir=tmp_path / "data", plugins=(table,))) as app:
            (report,) = app.reports
    assert isinstance(report.error, PluginVersionError)
    assert (
        f"fairlead-future 3.0 needs version {wanted} of the plugin API; this core offers {hookspecs.API_VERSION}"
        == report.error.problem
    )
    assert "fairlead-core" in report.error.next_step
    assert [] == imported


def future_wheel(path: Path, wanted: str) -> Path:
    """A wheel whose code must not run, and whose manifest has a key that nobody knows yet."""
    info = "fairlead_future-3.0.dist-info"
    files = {
        "fairlead_future/__init__.py": "raise SystemExit('it was imported')\n",
        "fairlead_future/fairlead-plugin.json": json.dumps({"api": wanted, "galaxies": ["all"]}),
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: fairlead-future\nVersion: 3.0\n",
        f"{info}/entry_points.txt": "[fairlead.tools]\nfuture = fairlead_future\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


async def test_wheel_on_asyncio_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The host imports nothing of it; its tool is called over the boundary."""
    if shutil.which("bwrap") is None:
        pytest.fail("bubblewrap is missing: apt-get install bubblewrap")
    table = PluginConfig("tools", "golden-asyncio", isolation="process")
    allow = {"rules": [{"name": "a", "effect": "allow", "actions": ["tool_call"], "resources": ["*"], "layer": "app"}]}
    config = Config(
        data_dir=tmp_path / "data",
        plugins=(table, PluginConfig("policies", "rules", options=allow)),
        models={"default": (ModelRef("script", "script"),)},
        agents=(Agent(),),
    )
    script = ScriptedProvider([calls(("backwards", {"text": "golden"})), last_result])
    script.name = "script"
    with unpacked(GOLDEN_ASYNCIO, tmp_path / "site") as imported, trio.fail_after(LIMIT):
        async with fairlead.open(config, providers=[script]) as app:
            assert ["ready", "ready"] == [report.status for report in app.reports], app.reports
            reply = await app.ask("turn it round")
    assert "nedlog" == reply.text
    assert [] == imported


def last_result(request: Any) -> str:
    last = request.history[-1]
    assert isinstance(last, ToolResult)
    return last.error or last.text


@pytest.mark.parametrize(
    ("wheel", "project"), [(GOLDEN, "golden"), (GOLDEN_ASYNCIO, "golden-asyncio")], ids=lambda one: str(one)[-20:]
)
def test_wheel_is_made_of_the_source_beside_it(wheel: Path, project: str) -> None:
    """So everybody can read it. Neither is changed: what must go on working is what others have built."""
    source = HERE / project / "src"
    files = {path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path.relative_to(source).as_posix(): path.read_bytes() for path in files} == code_in(wheel)
