"""`fairlead check`: each rule finds what breaks it, and nothing of the plugin comes into this process."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fairlead_cli._check_rules import RULES, TIERS, Outcome, missing, tier_of
from fairlead_cli._check_runs import RUNS
from fairlead_cli._new import render
from fairlead_cli.command import main

KEPT = {rule.name for rule in RULES} - {*RUNS}
"""What can be said of a wheel without running it."""
MANIFEST: dict[str, Any] = {
    "api": "1.0",
    "isolation": "process",
    "stage": "stable",
    "hosts": ["dice.example:443"],
    "secrets": ["token"],
    "settings": {
        "type": "object",
        "properties": {
            "token": {"type": "string", "description": "The key."},
            "sides": {"type": "integer", "default": 6, "description": "Of one die."},
        },
        "required": ["token"],
    },
}
CODE = """\
from collections.abc import Sequence

import trio
from fairlead import Settings, Tool, ToolCall, ToolContext, ToolSpec
from fairlead.hookspecs import hookimpl


class Dice(Tool):
    def specs(self) -> Sequence[ToolSpec]:
        return [ToolSpec("roll", "Roll dice.")]

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        await trio.lowlevel.checkpoint()
        return "4"


@hookimpl
def fairlead_tools(settings: Settings) -> Sequence[Tool]:
    return [Dice()]
"""
HEAD = """\
Metadata-Version: 2.4
Name: acme-cubes
Version: 1.0
Summary: Dice.
License-Expression: MIT
Requires-Python: >=3.11
Description-Content-Type: text/markdown

Settings: token and sides.
"""
INFO = "acme_cubes-1.0.dist-info"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))


def write_wheel(path: Path, **changes: str) -> Path:
    """A wheel by hand. Changes: the text of a file, `__` standing for `/`; empty for a file that is left out."""
    files = {
        "acme_cubes/__init__.py": "",
        "acme_cubes/py.typed": " ",
        "acme_cubes/plugin.py": CODE,
        "acme_cubes/fairlead-plugin.json": json.dumps(MANIFEST),
        f"{INFO}/METADATA": HEAD,
        f"{INFO}/licenses/LICENSE": "MIT",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{INFO}/entry_points.txt": "[fairlead.tools]\ndice = acme_cubes.plugin\n",
    }
    names = {
        "code": "acme_cubes/plugin.py",
        "manifest": "acme_cubes/fairlead-plugin.json",
        "typed": "acme_cubes/py.typed",
    }
    names |= {"head": f"{INFO}/METADATA", "points": f"{INFO}/entry_points.txt", "license": f"{INFO}/licenses/LICENSE"}
    files |= {names[key]: text for key, text in changes.items()}
    files = {name: text for name, text in files.items() if text or name.endswith("__init__.py")}
    files[f"{INFO}/RECORD"] = "".join(f"{name},,\n" for name in files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def check(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    """Code, what it found, and what it said beside that."""
    with pytest.raises(SystemExit) as done:
        main(["check", *map(str, arguments), "--json"])
    assert "acme_cubes" not in sys.modules
    assert "fairlead_my_dice" not in sys.modules
    out, err = capsys.readouterr()
    return int(done.value.code or 0), json.loads(out), err


def broken(found: Mapping[str, Any]) -> dict[str, str]:
    return {each["rule"]: each["seen"] for each in found["rules"] if not each["ok"] and each["rule"] not in RUNS}


def manifest(**changes: Any) -> str:
    return json.dumps({**MANIFEST, **changes})


def settings(**properties: Any) -> str:
    return manifest(settings={"type": "object", "properties": properties}, secrets=[])


def test_wheel_in_order_keeps_every_rule_on_its_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without running it no tier is reached, and what was not looked at is told."""
    wheel = write_wheel(tmp_path / "acme_cubes-1.0-py3-none-any.whl")
    code, found, _ = check(capsys, wheel, "--static")
    assert {} == broken(found)
    assert KEPT == {each["rule"] for each in found["rules"] if each["ok"]}
    assert (1, "", ["loads"]) == (code, found["tier"], found["missing"])
    assert "acme-cubes 1.0" == found["plugin"]
    assert ["tools/dice"] == found["plugins"]


@pytest.mark.parametrize(
    ("rule", "changes", "words"),
    [
        ("entry-point", {"points": "[console_scripts]\ndice = acme_cubes:main\n"}, "it has none"),
        ("entry-point", {"points": "[fairlead.tools]\ndice = json\n"}, "json"),
        ("manifest", {"manifest": ""}, "it has no fairlead-plugin.json"),
        ("manifest", {"manifest": "{"}, "acme_cubes/fairlead-plugin.json"),
        ("manifest", {"manifest": manifest(galaxy="all")}, "'galaxy' was unexpected"),
        ("api", {"manifest": manifest(api="2.0")}, "it needs version 2.0 of the plugin API; this core offers"),
        ("api", {"manifest": manifest(api=">=1.0,<1.1")}, "it needs version >=1.0,<1.1"),
        ("settings", {"manifest": manifest(settings={"type": "nothing"}, secrets=[])}, "not a JSON Schema"),
        ("settings", {"manifest": manifest(secrets=["key"])}, "the secret 'key' is no setting"),
        ("settings", {"manifest": manifest(settings={"type": "array"}, secrets=[])}, "its settings are no object"),
        ("metadata", {"head": HEAD.replace("License-Expression: MIT\n", "")}, "it lacks a licence"),
        ("metadata", {"head": HEAD.replace("Summary: Dice.\n", "")}, "it lacks a summary"),
        ("metadata", {"license": ""}, "it lacks the text of its licence"),
        ("metadata", {"head": HEAD.replace("Settings: token and sides.\n", "")}, "it lacks a README"),
        ("public-names", {"code": "from fairlead._turn import Turn\n"}, "plugin.py:1 imports fairlead._turn.Turn"),
        ("public-names", {"code": "def f() -> None:\n    import fairlead.testing._fakes\n"}, "plugin.py:2 imports"),
        ("public-names", {"code": "def ("}, "is no Python"),
        ("typed", {"typed": ""}, "acme_cubes has no py.typed"),
        ("typed", {"code": "def f(x):\n    return x\n"}, "plugin.py:1 f() lacks the type of x"),
        ("loop", {"code": "import asyncio\n"}, "plugin.py:1 imports asyncio, and its runtime is trio"),
        ("loop", {"manifest": manifest(runtime="asyncio")}, "imports trio, and its runtime is asyncio"),
        ("loop", {"code": "import time\nasync def f() -> None:\n    time.sleep(1)\n"}, "calls time.sleep"),
        ("described", {"manifest": settings(sides={"type": "integer"})}, "sides has no description"),
        (
            "described",
            {"manifest": settings(sides={"type": "integer", "default": "six", "description": "x"})},
            "the default of sides does not match",
        ),
        ("stable", {"manifest": manifest(stage="experimental")}, "tools/dice is experimental"),
        ("floor", {"manifest": manifest().replace('"isolation": "process", ', "")}, "does not say it"),
        ("reach", {"code": "import httpx2\n", "manifest": manifest(hosts=[])}, "tools/dice"),
        ("readme", {"head": HEAD.replace("token and sides", "sides")}, "tools/dice: token"),
        ("released", {"head": HEAD.replace("Version: 1.0", "Version: 0.9")}, "it is 0.9"),
        ("exact-hosts", {"manifest": manifest(hosts=["*.example:443"])}, "*.example:443"),
    ],
)  # fmt: skip
def test_rule_finds_what_breaks_it(
    rule: str, changes: dict[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told with its place, and the next step is named."""
    wheel = write_wheel(tmp_path / "acme_cubes-1.0-py3-none-any.whl", **changes)
    code, found, _ = check(capsys, wheel, "--static")
    assert words in broken(found).get(rule, ""), broken(found)
    assert 1 == code
    assert next(each for each in found["rules"] if each["rule"] == rule)["next_step"]


def test_blocking_is_no_fault_where_it_waits_in_a_thread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A function inside is not called there."""
    code = "import time\nasync def f() -> None:\n    def g() -> None:\n        time.sleep(1)\n"
    wheel = write_wheel(tmp_path / "acme_cubes-1.0-py3-none-any.whl", code=code)
    assert "loop" not in broken(check(capsys, wheel, "--static")[1])


def test_another_loop_is_no_fault_in_a_thread_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As where a server that exists for asyncio only is bridged to trio."""
    code = "import asyncio\nimport threading\ndef f() -> None:\n    threading.Thread(target=asyncio.run).start()\n"
    wheel = write_wheel(tmp_path / "acme_cubes-1.0-py3-none-any.whl", code=code)
    assert "loop" not in broken(check(capsys, wheel, "--static")[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.whl"], "does not exist"),
        (["text.whl", "--static"], "is no wheel"),
        (["empty.whl", "--static"], "it has no metadata"),
        (["project", "--static"], "to build a project runs its code"),
        (["project"], "nobody is here to answer: Run them?"),
        (["project", "--yes"], "pyproject.toml cannot be read"),
    ],
)
def test_what_cannot_be_checked_is_refused(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the next step, and exit code 2."""
    (tmp_path / "text.whl").write_text("text")
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as archive:
        archive.writestr("x.py", "")
    (tmp_path / "project").mkdir()
    with pytest.raises(SystemExit) as done:
        main(["check", *arguments])
    err = capsys.readouterr().err
    assert (2, True, True) == (done.value.code, words in err, "next: " in err), err


# -- running it


def test_wheel_is_loaded_in_a_process_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wheel has no tests, so that its tier is bronze at most."""
    wheel = write_wheel(tmp_path / "acme_cubes-1.0-py3-none-any.whl")
    code, found, _ = check(capsys, wheel, "--yes")
    assert (0, "bronze") == (code, found["tier"])
    assert ["kit", "tests"] == found["missing"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit('I am leaving')\n", "SystemExit: I am leaving"),
        ("import os\nos._exit(7)\n", "the process ended with 7"),
        ("import a_module_that_nobody_has\n", "No module named 'a_module_that_nobody_has'"),
        ("x = 1\n", "it has no hook fairlead_tools; it has none"),
        (CODE.replace("def fairlead_tools", "def fairlead_toolz"), "unknown hook 'fairlead_toolz'"),
    ],
)
def test_plugin_that_does_not_load_has_no_tier(
    code: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it does, it does to its own process."""
    wheel = write_wheel(tmp_path / "acme_cubes-1.0-py3-none-any.whl", code=code)
    exit_code, found, _ = check(capsys, wheel, "--yes")
    assert (1, "") == (exit_code, found["tier"])
    assert words in next(each["seen"] for each in found["rules"] if each["rule"] == "loads")


def test_what_a_stranger_leaves_behind_is_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program that goes on neither delays the answer nor stays."""
    mark = tmp_path / "pid"
    start = "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    code = f"import subprocess, sys, pathlib\n{start}\npathlib.Path({str(mark)!r}).write_text(str(p.pid))\n{CODE}"
    wheel = write_wheel(tmp_path / "acme_cubes-1.0-py3-none-any.whl", code=code)
    assert "bronze" == check(capsys, wheel, "--yes")[1]["tier"]
    status = Path("/proc", mark.read_text(), "status")
    assert not status.exists() or "Z (zombie)" in status.read_text()


def test_check_that_is_told_to_end_takes_what_it_runs_with_it(tmp_path: Path) -> None:
    """SIGTERM ends the plugin's process as well."""
    mark = tmp_path / "pid"
    code = f"import os, pathlib, time\npathlib.Path({str(mark)!r}).write_text(str(os.getpid()))\ntime.sleep(600)\n"
    wheel = write_wheel(tmp_path / "acme_cubes-1.0-py3-none-any.whl", code=code)
    command = [sys.executable, "-m", "fairlead_cli", "check", str(wheel), "--yes"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while not (mark.exists() and mark.read_text()) and time.monotonic() < end:
        time.sleep(0.05)  # real time: other processes have no other clock
    process.terminate()
    assert 143 == process.wait(30)
    status = Path("/proc", mark.read_text(), "status")
    assert not status.exists() or "Z (zombie)" in status.read_text()


def test_stranger_gets_no_secrets_of_this_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Variables with keys stay here, and so does the home."""
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    code = "import os\nraise SystemExit(f\"{'sesame' in str(os.environ)} {os.environ['HOME']}\")\n"
    wheel = write_wheel(tmp_path / "acme_cubes-1.0-py3-none-any.whl", code=code)
    _, found, _ = check(capsys, wheel, "--yes")
    seen = next(each["seen"] for each in found["rules"] if each["rule"] == "loads")
    home = Path(seen.partition("SystemExit: False ")[2].split()[0])
    assert home.is_absolute()
    assert Path.home() != home


def project(tmp_path: Path, **changes: tuple[str, str]) -> Path:
    """A project as `fairlead new` writes it; changes: what is replaced in a file, by the end of its name."""
    target = tmp_path / "fairlead-my-dice"
    for name, text in render("tool", "my-dice", "fairlead-my-dice", "MIT").items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        old, new = next((pair for key, pair in changes.items() if path.stem == key), ("", ""))
        assert old in text
        path.write_text(text.replace(old, new) if old else text)
    return target


def test_project_that_breaks_a_promise_is_bronze(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The promise, where it is documented and what was seen are told; so is where it stands with the tier it claims."""
    target = project(
        tmp_path,
        plugin=("return f\"{self._greeting}, {call.arguments['who']}!\"", "raise KeyError(call.tool)"),
        **{"fairlead-plugin": ('"stage": "experimental"', '"stage": "experimental", "tier": "silver"')},
    )
    code, found, _ = check(capsys, target, "--yes")
    assert (1, "bronze", "silver") == (code, found["tier"], found["claimed"])
    seen = next(each["seen"] for each in found["rules"] if each["rule"] == "kit")
    assert "documented in fairlead.Tool" in seen
    assert "KeyError" in seen


def test_project_without_the_kit_is_bronze(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tests of its own are not enough for silver."""
    target = project(tmp_path, test_fairlead_my_dice=("(ToolConformance)", ""))
    code, found, _ = check(capsys, target, "--yes", "--tier", "silver")
    assert (1, "bronze") == (code, found["tier"])
    assert "no conformance class is tested for: tools" == next(
        each["seen"] for each in found["rules"] if each["rule"] == "kit"
    )


def test_plugin_that_only_observes_needs_no_kit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is none for observers; the tests of its own count."""
    target = project(
        tmp_path,
        plugin=("def fairlead_tools(", "def fairlead_observers("),
        test_fairlead_my_dice=("(ToolConformance)", ""),
    )
    found = check(capsys, target, "--yes", "--tier", "silver")[1]
    outcomes = {each["rule"]: each for each in found["rules"]}
    assert (True, True) == (outcomes["loads"]["ok"], outcomes["kit"]["ok"]), outcomes


# -- tiers


def test_tier_has_all_rules_of_those_below() -> None:
    """One broken rule of bronze leaves nothing, whatever else is kept."""
    every = [Outcome(rule.name, ok=True) for rule in RULES]
    assert "platinum" == tier_of(every)
    for place, tier in enumerate(TIERS):
        rule = next(rule.name for rule in RULES if rule.tier == tier)
        found = [Outcome(each.rule, each.rule != rule, "x") for each in every]
        reached = TIERS[place - 1] if place else ""
        assert reached == tier_of(found)
        assert [rule] == [each.rule for each in missing(found, reached)]


def test_every_tier_has_rules_and_every_rule_one_name() -> None:
    """The table is the published one."""
    assert list(TIERS) == list(dict.fromkeys(rule.tier for rule in RULES))
    assert len(RULES) == len({rule.name for rule in RULES})
    assert {*RUNS} < {rule.name for rule in RULES}
