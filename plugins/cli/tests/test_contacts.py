"""`fairlead contacts`, with the app that the stranger writes to."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import trio

import fairlead
from fairlead import Text
from fairlead.config import Config, PluginConfig
from fairlead.testing import CapturingChannel, ScriptedProvider
from fairlead_cli import _contacts
from fairlead_cli.command import main

LIMIT = 20.0


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIRLEAD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("FAIRLEAD_CONFIG", "FAIRLEAD_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def contacts(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main(["contacts", *arguments])
    return int(done.value.code or 0), *capsys.readouterr()


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    code, out, err = contacts(capsys, *arguments, "--json")
    assert 0 == code, err
    return json.loads(out)


async def told(channel: CapturingChannel, words: str, author: str) -> str:
    """What somebody reads who says something."""
    await channel.say(words, author=author)
    return "".join(part.text for part in (await channel.next()).parts if isinstance(part, Text))


async def test_stranger_is_approved_while_the_app_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The code that he was given is in the list; once it is approved he has an answer; once he is removed, none."""
    table = PluginConfig("policies", "contacts", isolation="host")
    config, channel = Config(data_dir=tmp_path / "data", plugins=(table,)), CapturingChannel()
    model = ScriptedProvider(["hello Ann"], repeat=True)
    with trio.fail_after(LIMIT):
        async with (
            fairlead.open(config, providers=[model], channels=[channel]) as app,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(app.serve)
            notice = await told(channel, "let me in", "ann")
            (waiting,) = found(capsys, "pending")
            assert waiting["code"].replace("-", "") in re.sub(r"[^A-Z0-9]", "", notice)
            assert waiting["principal"] in contacts(capsys, "pending")[1]
            _, out, _ = contacts(capsys, "approve", waiting["code"].lower())
            assert f"{waiting['principal']}" in out
            assert "may talk now" in out
            answer = notice
            while answer != "hello Ann":
                answer = await told(channel, "and now?", "ann")
            assert [waiting["principal"]] == [each["principal"] for each in found(capsys, "list")]
            assert waiting["principal"] in contacts(capsys, "list")[1]
            assert [] == found(capsys, "pending")
            (gone,) = found(capsys, "remove", waiting["principal"])
            assert waiting["principal"] == gone["principal"]
            assert [] == found(capsys, "list")
            app.stop()


async def test_declined_code_is_void(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is approved by it afterwards."""
    table = PluginConfig("policies", "contacts", isolation="host")
    config, channel = Config(data_dir=tmp_path / "data", plugins=(table,)), CapturingChannel()
    with trio.fail_after(LIMIT):
        async with (
            fairlead.open(config, providers=[ScriptedProvider([])], channels=[channel]) as app,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(app.serve)
            await told(channel, "let me in", "mallory")
            app.stop()
    (waiting,) = found(capsys, "pending")
    _, out, _ = contacts(capsys, "decline", waiting["code"])
    assert "stays out" in out
    code, _, err = contacts(capsys, "approve", waiting["code"])
    assert (2, True, True) == (code, "nobody waits with the code" in err, "next: " in err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("approve", "ABCD-EFGH"), "nobody waits with the code 'ABCD-EFGH'"),
        (("decline", "\x1b[31m"), "nobody waits with the code"),
        (("remove", "irc:nobody"), "'irc:nobody' is not among the contacts"),
    ],
)
def test_what_is_not_there_is_refused(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 2 and the next step; nothing in it moves the cursor."""
    code, _, err = contacts(capsys, *arguments)
    assert (2, True, True) == (code, words in err, "next: fairlead contacts list" in err), err
    assert "\x1b" not in err


def test_empty_lists_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, so that a script reads headings alone."""
    assert "No code waits." in contacts(capsys, "pending")[2]
    assert "Nobody was approved." in contacts(capsys, "list")[2]


def test_package_that_is_missing_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The next step installs it."""
    monkeypatch.setattr(_contacts, "PACKAGE", "fairlead-contacts-of-nobody")
    code, _, err = contacts(capsys, "list")
    assert (2, True) == (code, "next: pip install fairlead-contacts-of-nobody" in err)
