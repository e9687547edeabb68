"""What is known of a plugin before it is imported: shown, warned of, and held against the configuration."""

from __future__ import annotations

import importlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fairlead_cli.command import main

MANIFEST: dict[str, Any] = {
    "api": ">=1.0,<1.9",
    "runtime": "asyncio",
    "isolation": "process",
    "hosts": ["dice.example:443"],
    "secrets": ["token"],
    "mounts": ["workspace", "data"],
    "tools": [{"name": "roll", "description": "Roll dice."}],
    "stage": "deprecated",
    "tier": "silver",
    "settings": {
        "type": "object",
        "properties": {
            "token": {"type": "string", "description": "The key of the casino."},
            "sides": {"type": "integer", "minimum": 2, "default": 6, "description": "Of one die."},
        },
        "additionalProperties": False,
    },
}
WRONG = """\
# Somebody's dice

[tools.dice]
isolation = "{level}"
token = {{ env = "DICE_TOKEN" }}
sides = "six"
side = 6
"""


@pytest.fixture(autouse=True)
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin on the path that must not be imported."""
    package, info = tmp_path / "site" / "acme_cubes", tmp_path / "site" / "acme_cubes-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('it was imported')\n")
    (package / "fairlead-plugin.json").write_text(json.dumps(MANIFEST))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-cubes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fairlead.tools]\ndice = acme_cubes.plugin\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIRLEAD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DICE_TOKEN", "sesame")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    for name in ("FAIRLEAD_CONFIG", "FAIRLEAD_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    importlib.invalidate_caches()


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert "acme_cubes" not in sys.modules
    return int(done.value.code or 0), *capsys.readouterr()


def test_everything_in_the_metadata_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Kind, range, runtime, floor, what it asks for, its settings, stage and claimed tier; nothing is imported."""
    code, out, _ = call(capsys, "plugins", "show", "dice")
    assert 0 == code
    expected = [
        "tools/dice",
        "distribution: acme-cubes 1.0",
        "plugin API: >=1.0,<1.9",
        "runtime: asyncio",
        "isolation: process or stronger",
        "stage: deprecated",
        "quality tier: silver, as its authors say",
        "secrets: token",
        "hosts: dice.example:443",
        "mounts: workspace, data",
        "tools: roll",
        "sides (integer, default 6): Of one die.",
    ]
    assert [] == [line for line in expected if line not in out]


def test_everything_in_the_metadata_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts, the schema of the settings as it is."""
    _, out, _ = call(capsys, "plugins", "show", "tools/dice", "--json")
    (shown,) = json.loads(out)
    same = ("api", "runtime", "isolation", "hosts", "secrets", "mounts", "stage", "tier", "settings")
    assert {key: MANIFEST[key] for key in same} == {key: shown[key] for key in same}
    assert ["roll"] == shown["tools"]


def manifest(tmp_path: Path, **changes: Any) -> None:
    file = tmp_path / "site" / "acme_cubes" / "fairlead-plugin.json"
    file.write_text(json.dumps({**MANIFEST, "runtime": "trio", **changes}))


@pytest.mark.parametrize("level", ["host", "process"])
@pytest.mark.parametrize("command", [("run",), ("chat", "hello"), ("policy", "explain", "roll", "{}")])
def test_options_are_checked_before_the_plugin_is_imported(
    level: str, command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """File, line and path of each fault, what was found and what is expected, in one go."""
    manifest(tmp_path)
    file = tmp_path / "fairlead.toml"
    others = "[channels.terminal]\n[providers.rehearsal]\n"
    file.write_text(others + WRONG.format(level=level))
    code, _, err = call(capsys, *command, "--config", str(file))
    assert 2 == code
    assert f"{file}:8: tools.dice.sides: found 'six', expected type integer" in err
    assert f"{file}:9: tools.dice.side: unknown key 'side'" in err
    assert "sesame" not in err


def test_doctor_makes_a_finding_of_wrong_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the line, and without importing the plugin."""
    manifest(tmp_path)
    (tmp_path / "fairlead.toml").write_text(WRONG.format(level="host"))
    code, out, _ = call(capsys, "doctor", "--json")
    assert 1 == code
    found = next(each for each in json.loads(out)["findings"] if not each["ok"])
    assert "fairlead.toml:6: tools.dice.sides: found 'six', expected type integer" in found["detail"]


def test_doctor_warns_of_deprecated_plugins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no fault yet, and named where it is enabled."""
    (tmp_path / "fairlead.toml").write_text("[tools.dice]\nsides = true\n")
    _, out, _ = call(capsys, "doctor", "--json")
    warning = next(each for each in json.loads(out)["warnings"] if each["subject"] == "tools/dice")
    assert "acme-cubes 1.0 is deprecated" in warning["detail"]
    _, out, _ = call(capsys, "doctor")
    assert "see  tools/dice: acme-cubes 1.0 is deprecated" in out


@pytest.mark.parametrize(("profile", "count"), [("development", 0), ("production", 1)])
def test_doctor_warns_of_experimental_plugins_in_production(
    profile: str, count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where somebody develops they are nothing special."""
    manifest(tmp_path, stage="experimental")
    models = 'models = { default = "openai/small" }\n[providers.openai]\napi_key = { env = "DICE_TOKEN" }\n'
    rest = "[memories.sqlite]\n[tools.dice]\nsides = true\n"
    (tmp_path / "fairlead.toml").write_text(f'profile = "{profile}"\n{models}{rest}')
    _, out, _ = call(capsys, "doctor", "--json")
    assert count == [each["subject"] for each in json.loads(out)["warnings"]].count("tools/dice"), out
