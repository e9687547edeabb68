"""`fairlead plugins add`, `upgrade`, `remove`, `revive`: with real wheels, a real installer, and real processes."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fairlead.hookspecs import API_VERSION
from fairlead_cli._plugins_change import _confirm_more, _table
from fairlead_cli.command import main

from .fakes import FakeScreen

WORKS = """
from fairlead import Tool, ToolSpec
from fairlead.hookspecs import hookimpl

class Dice(Tool):
    def specs(self):
        return [ToolSpec("roll", "Roll dice.")]

    async def call(self, call, context):
        return "4"

@hookimpl
def fairlead_tools(settings):
    assert "a secret" not in str(settings.options)
    return [Dice()]
"""
BROKEN = "raise ZeroDivisionError('dice without sides')\n"
MANIFEST: dict[str, Any] = {
    "api": "1.0",
    "isolation": "process",
    "hosts": ["dice.example:443"],
    "secrets": ["token"],
    "settings": {"type": "object", "properties": {"token": {"type": "string"}, "sides": {"type": "integer"}}},
}
HEAD = "Metadata-Version: 2.1\nName: acme-dice\n"
OFFLINE = ("--no-index", "--yes")


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIRLEAD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    for name in ("FAIRLEAD_CONFIG", "FAIRLEAD_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def wheel(directory: Path, version: str = "1.0", code: str = WORKS, **changes: Any) -> Path:
    """The wheel of a plugin, written by hand."""
    info = f"acme_dice-{version}.dist-info"
    files = {
        "acme_dice/__init__.py": "",
        "acme_dice/plugin.py": code,
        "acme_dice/fairlead-plugin.json": json.dumps({**MANIFEST, **changes}),
        f"{info}/METADATA": f"{HEAD}Version: {version}\nRequires-Dist: fairlead-core\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[fairlead.tools]\ndice = acme_dice.plugin\n",
    }
    record = "".join(f"{name},sha256={digest(text)},\n" for name, text in files.items())
    path = directory / f"acme_dice-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(name, text)
    return path


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def call(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    out, err = capsys.readouterr()
    return int(done.value.code or 0), out, err


def answer(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Let a person sit there and type."""

    class Typed(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Typed("".join(f"{line}\n" for line in lines)))


def test_added_plugin_says_what_it_asks_for_and_how_to_enable_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table to write is a table that the configuration takes; nothing is enabled."""
    code, out, err = call("plugins", "add", str(wheel(tmp_path)), *OFFLINE, capsys=capsys)
    assert 0 == code, err
    for words in ("isolation: process or stronger", "hosts: dice.example:443", "secrets: token", "mounts: none"):
        assert words in err
    assert "acme-dice 1.0 has an environment of its own." in out
    assert '[tools.dice]\nhosts = ["dice.example:443"]\ntoken = { env = "DICE_TOKEN" }\n' in out
    listed = json.loads(call("plugins", "list", "--json", capsys=capsys)[1])
    (dice,) = [each for each in listed if each["name"] == "dice"]
    assert ("acme-dice", "1.0", False) == (dice["distribution"], dice["version"], dice["enabled"])
    (tmp_path / "fairlead.toml").write_text(out[out.index("[tools.dice]") :], "utf-8")
    monkeypatch.setenv("DICE_TOKEN", "x")
    _, shown, _ = call("plugins", "show", "tools/dice", capsys=capsys)
    assert "enabled: yes" in shown
    code, out, _ = call("plugins", "remove", "dice", "--yes", capsys=capsys)
    assert (0, True) == (code, "next: remove [tools.dice] from" in out)


def test_person_is_asked_after_all_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a person and without --yes nothing is done; no is no."""
    path = str(wheel(tmp_path))
    code, _, err = call("plugins", "add", path, "--no-index", capsys=capsys)
    assert (2, True) == (code, "nobody is here to answer" in err)
    assert f"next: fairlead plugins add {path} --yes" in err
    answer(monkeypatch, "n")
    code, _, err = call("plugins", "add", path, "--no-index", capsys=capsys)
    assert (2, True) == (code, "acme-dice 1.0 was not taken; nothing was changed" in err)
    assert err.index("hosts: dice.example:443") < err.index("Keep it in an environment of its own?")
    answer(monkeypatch, "y")
    assert 0 == call("plugins", "add", path, "--no-index", capsys=capsys)[0]
    answer(monkeypatch, "n")
    code, _, err = call("plugins", "remove", "acme-dice", capsys=capsys)
    assert (2, True) == (code, "nothing was removed" in err)


def test_upgrade_is_tried_where_it_is_enabled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the table's options, without its secrets; one that does not load never comes into use."""
    call("plugins", "add", str(wheel(tmp_path)), *OFFLINE, capsys=capsys)
    (tmp_path / "fairlead.toml").write_text('[tools.dice]\ntoken = "a secret"\nsides = 6\n', "utf-8")
    bad = str(wheel(tmp_path, "1.5", BROKEN))
    code, _, err = call("plugins", "upgrade", "acme-dice", "--from", bad, *OFFLINE, capsys=capsys)
    assert 2 == code
    assert "acme-dice 1.5 does not work, so 1.0 stays in use: tools/dice" in err
    assert "dice without sides" in err
    good = str(wheel(tmp_path, "2.0"))
    code, out, err = call("plugins", "upgrade", "dice", "--from", good, *OFFLINE, capsys=capsys)
    assert 0 == code, err
    assert "acme-dice 2.0 is in use instead of 1.0: it works as tools/dice." in out
    code, out, _ = call("plugins", "upgrade", "dice", *OFFLINE, capsys=capsys)
    assert (0, "acme-dice 2.0 is the newest, and stays in use.\n") == (code, out)


def test_json_has_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object on standard output, whatever is told beside it."""
    made = json.loads(call("plugins", "add", str(wheel(tmp_path)), *OFFLINE, "--json", capsys=capsys)[1])
    assert ("acme-dice", "1.0", ["dice.example:443"]) == (
        made["name"],
        made["version"],
        made["asks"]["plugins"][0]["hosts"],
    )
    assert made["tables"][0].startswith("[tools.dice]\n")
    assert "--hash=sha256:" in Path(made["lock"]).read_text("utf-8")
    path = str(wheel(tmp_path, "2.0"))
    done = json.loads(call("plugins", "upgrade", "dice", "--from", path, *OFFLINE, "--json", capsys=capsys)[1])
    assert (True, "1.0", "2.0", ["tools/dice"]) == (
        done["changed"],
        done["before"]["version"],
        done["after"]["version"],
        done["tried"],
    )
    done = json.loads(call("plugins", "remove", "dice", "--yes", "--json", capsys=capsys)[1])
    assert {"name": "acme-dice", "tables": []} == done


def test_project_is_built_only_after_a_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its build code would run as the person who types."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project/pyproject.toml").write_text("[project]\n")
    code, _, err = call("plugins", "add", "./project", "--no-index", capsys=capsys)
    assert 2 == code
    assert "runs its own code on this machine, as you" in err
    assert "nobody is here to answer: Build it?" in err


def test_faults_say_what_to_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong sources, other APIs, names that nobody has."""
    future = str(wheel(tmp_path, api="2.0"))
    for arguments, words in (
        (("add", "./nowhere"), "is no directory and no wheel"),
        (("add", future, *OFFLINE), f"needs version 2.0 of the plugin API; this core offers {API_VERSION}"),
        (("upgrade", "nothing", *OFFLINE), "no plugin 'nothing' has an environment of its own"),
        (("remove", "nothing", "--yes"), "no plugin 'nothing' has an environment of its own"),
        (("revive", "nothing"), "no plugin 'nothing' ever ran outside of the host here; there are: none"),
    ):
        code, _, err = call("plugins", *arguments, capsys=capsys)
        assert (2, True, True) == (code, words in err, "next: " in err), err


def test_quarantine_ends_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the name of its table; what is in none stays as it is."""
    states = tmp_path / "data/states"
    states.mkdir(parents=True)
    record = {"name": "channels/pager", "status": "quarantined", "since": time.time(), "restarts": 3, "host": 0}
    file = states / "channels-pager.json"
    file.write_text(json.dumps({**record, "crashes": [{"at": time.time(), "words": "exit status 3"}]}))
    code, out, _ = call("plugins", "revive", "pager", capsys=capsys)
    assert (0, "channels/pager may be started again.\n") == (code, out)
    assert ("stopped", []) == (json.loads(file.read_text())["status"], json.loads(file.read_text())["crashes"])
    code, out, _ = call("plugins", "revive", "channels/pager", capsys=capsys)
    assert (0, "channels/pager is in no quarantine.\n") == (code, out)


def test_help_imports_no_plugin_and_no_sandbox() -> None:
    """Only what is typed is loaded."""
    code = (
        "import sys\nfrom fairlead_cli.command import main\n"
        "try:\n    main(['plugins', 'add', '--help'])\nexcept SystemExit as done:\n    assert not done.code\n"
        "print([name for name in sys.modules if name.startswith(('fairlead_', 'docker', 'packaging'))"
        " and not name.startswith('fairlead_cli')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.splitlines()[-1]


async def test_person_is_asked_only_where_more_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """New hosts, secrets, mounts and plugins, and a weaker place; not a stronger one, and not less."""
    point = {"kind": "tools", "name": "dice", "api": "1.0", "runtime": "trio", "stage": "stable"}
    old = {**point, "isolation": "container", "hosts": ["a:1"], "secrets": ["token"], "mounts": []}
    before = {"distribution": "acme-dice", "version": "1.0", "needs": [], "plugins": [old]}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"isolation": "kernel", "hosts": [], "secrets": []}, ""),
        ({"hosts": ["a:1", "b:2"]}, "tools/dice: hosts b:2"),
        ({"mounts": ["data"]}, "tools/dice: mounts data"),
        ({"isolation": "process"}, "tools/dice: isolation process instead of container"),
        ({"name": "cards"}, "tools/cards is new"),
    ]
    for change, words in cases:
        screen = FakeScreen()
        answer(monkeypatch, "y")
        asks = {**before, "version": "2.0", "plugins": [{**old, **change}]}
        assert await _confirm_more(screen, "fairlead plugins upgrade acme-dice --yes", asks, before)
        assert words in screen.noted
        assert bool(words) is bool(screen.noted)


def test_table_names_what_must_be_said() -> None:
    """Required keys as a comment, names that need quotes in quotes, nothing that a plugin writes as code."""
    settings = {"required": ["port", "a\nb = 1"], "properties": {"port": {"type": "integer"}}}
    point: dict[str, Any] = {
        "kind": "channels",
        "name": "my pager",
        "hosts": ['x"]\n[y'],
        "secrets": ["token", "]\n[z]\n"],
    }
    point["settings"] = settings
    lines = _table(point).splitlines()
    assert '[channels."my pager"]' == lines[0]
    assert 'hosts = ["x\\"]\\n[y"]' == lines[1]
    assert 'token = { env = "MY_PAGER_TOKEN" }' == lines[2]
    assert '"]\\n[z]\\n" = { env = "MY_PAGER____Z__" }' == lines[3]
    assert ["# port = ...  (integer; it must have one)", '# "a\\nb = 1" = ...  (value; it must have one)'] == lines[4:]
    assert {"channels": {"my pager": {"hosts", "token", "]\n[z]\n"}}} == {
        kind: {name: set(table) for name, table in tables.items()}
        for kind, tables in tomllib.loads(_table(point)).items()
    }
