"""`fairlead init` asks for what a channel's manifest says, or takes it from the command line."""

from __future__ import annotations

import io
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fairlead import config
from fairlead.plugins import Manifest, installed
from fairlead_cli._init_settings import questions, rendered
from fairlead_cli.command import main

MANIFEST: dict[str, Any] = {
    "api": "1.0",
    "secrets": ["token", "proxy_password"],
    "settings": {
        "type": "object",
        "properties": {
            "server": {"type": "string", "minLength": 1, "description": "The server.", "examples": ["sms.example.org"]},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535, "default": 25, "description": "Its port."},
            "mode": {"enum": ["fast", "slow"], "default": "fast", "description": "How."},
            "rooms": {"type": "array", "items": {"type": "string"}, "default": [], "examples": [["#a"]]},
            "token": {"type": "string", "description": "The key."},
            "proxy_password": {"type": "string", "description": "For the proxy."},
            "words": {"type": "object", "additionalProperties": {"type": "string"}, "default": {}},
            "seconds": {"type": "number", "default": 1.5, "description": "A pause."},
        },
        "required": ["server", "token", "port"],
        "additionalProperties": False,
    },
}


@pytest.fixture(autouse=True)
def pager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel of somebody on the path; it is not imported."""
    package, info = tmp_path / "site" / "acme_pager", tmp_path / "site" / "acme_pager-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('it was imported')\n")
    (package / "fairlead-plugin.json").write_text(json.dumps(MANIFEST))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-pager\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fairlead.channels]\npager = acme_pager\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("FAIRLEAD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("FAIRLEAD_CONFIG", "FAIRLEAD_PROFILE", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def init(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main(["init", *arguments])
    return int(done.value.code or 0), *capsys.readouterr()


def written() -> dict[str, Any]:
    return tomllib.loads(Path("fairlead.toml").read_text("utf-8"))


def test_questions_are_what_the_manifest_requires_and_shows() -> None:
    """Required keys, keys with examples, and secrets; in the order of the manifest."""
    manifest = next(one.manifest for one in installed() if one.name == "pager")
    asked = questions("pager", manifest)
    assert ["server", "port", "rooms", "token", "proxy_password"] == [setting.key for setting in asked]
    assert ["", "25", "", "FAIRLEAD_PAGER_TOKEN", ""] == [setting.default for setting in asked]
    assert "pager.server: The server (such as sms.example.org)" == asked[0].question
    assert [] == questions("pager", Manifest("1.0", settings={"properties": {"x": {"examples": [1]}}}))


def test_channel_is_asked_for_what_it_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again until the answer matches the manifest; secrets by the names of variables; Enter takes the default."""
    answers = "rehearsal\n\npager\n\nsms.example.org\nmany\n\n#a, #b\nnot a name\nMY_TOKEN\n\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(answers))
    code, out, err = init(capsys)
    assert 0 == code, err
    assert {
        "server": "sms.example.org",
        "port": 25,
        "rooms": ["#a", "#b"],
        "token": {"env": "MY_TOKEN"},
    } == written()["channels"]["pager"]
    assert "pager.port: 'many' is not of type 'integer'" in err
    assert "pager.token is a secret: expected the name of the environment variable" in err
    assert "next: export MY_TOKEN=..." in out


def test_settings_may_be_given_instead(capsys: pytest.CaptureFixture[str]) -> None:
    """Text as it is, anything else as JSON, lists also with commas; nobody is asked."""
    pairs = {
        "server": "a=b.example",
        "port": "99",
        "rooms": "#a,#b",
        "words": '{"a b": "c"}',
        "seconds": "0.25",
        "mode": "slow",
        "token": "env:PAGER_KEY",
    }
    sets = [word for key, value in pairs.items() for word in ("--set", f"pager.{key}={value}")]
    code, out, err = init(capsys, "--defaults", "--channel", "pager", *sets, "--json")
    assert 0 == code, err
    expected = {
        "server": "a=b.example",
        "port": 99,
        "rooms": ["#a", "#b"],
        "words": {"a b": "c"},
        "seconds": 0.25,
        "mode": "slow",
        "token": {"env": "PAGER_KEY"},
    }
    assert expected == written()["channels"]["pager"]
    assert ["PAGER_KEY"] == json.loads(out)["variables"]
    loaded = config.load("fairlead.toml", environ={"PAGER_KEY": "x"})
    assert 99 == next(table for table in loaded.plugins if table.name == "pager").options["port"]


def test_required_keys_without_an_answer_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The next step gives the key and an example; nothing is written."""
    code, _, err = init(capsys, "--defaults", "--channel", "pager")
    assert (2, True) == (code, "next: fairlead init --set pager.server=sms.example.org" in err)
    assert [] == list(Path().iterdir())


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("pager.port=70000", "pager.port: 70000 is greater than the maximum of 65535"),
        ("pager.mode=medium", "pager.mode: 'medium' is not one of"),
        ("pager.words=7", "pager.words: 7 is not of type 'object'"),
        ("pager.prt=7", "'pager' has no key 'prt'; it has: server, port"),
        ("pagr.port=7", "'pagr' is not chosen; there are: rehearsal, pager"),
        ("port", "expected NAME.KEY=VALUE"),
        ("pager.token=hunter2", "pager.token is a secret"),
        ("pager.token=env:", "pager.token is a secret"),
    ],
)
def test_setting_that_does_not_match_is_refused(pair: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By what the manifest expects; a secret is neither repeated nor written."""
    code, _, err = init(capsys, "--defaults", "--channel", "pager", "--set", "pager.server=x", "--set", pair)
    assert (2, True) == (code, words in err), err
    assert "hunter2" not in err
    assert [] == list(Path().iterdir())


@pytest.mark.parametrize(
    ("channel", "sets"),
    [
        ("irc", ["irc.host=irc.example.org", "irc.nick=helper"]),
        ("matrix", ["matrix.homeserver=https://matrix.example.org"]),
        ("email", ["email.address=a@example.org", "email.imap=imaps://x.example", "email.smtp=smtps://x.example"]),
        ("telegram", []),
        ("webhook", []),
    ],
)
def test_our_channels_are_set_up_by_their_manifests(
    channel: str, sets: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What each requires is enough for a file that its own schema takes."""
    pairs = [word for each in sets for word in ("--set", each)]
    code, _, err = init(capsys, "--defaults", "--channel", channel, *pairs)
    assert 0 == code, err
    assert channel in written()["channels"]


@pytest.mark.parametrize(
    "value", ['say "hi"', "", 7, 1.5, True, [], ["a", "b"], {}, {"a b": [1], "c": {"d": "e"}}, "\x7f\n\\"]
)
def test_values_come_back_from_toml(value: Any) -> None:
    """As they were."""
    assert {"x": value} == tomllib.loads(f"x = {rendered(value)}\n")
