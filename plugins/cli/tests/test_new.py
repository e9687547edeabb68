"""`fairlead new`: what it writes, and what it refuses. That it builds and passes its kit is in tests/packaging."""

from __future__ import annotations

import ast
import json
import tomllib
from pathlib import Path

import pytest

from fairlead.wire import build_validator, check
from fairlead_cli._new import ASYNCIO, KINDS, render
from fairlead_cli.command import main

LINES = 150
"""What a project may have in all, blank lines and the licence left out."""
forms = pytest.mark.parametrize(
    ("kind", "runtime"), [*((kind, "trio") for kind in KINDS), *((kind, "asyncio") for kind in ASYNCIO)]
)


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")


def new(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(["new", *arguments])
    return int(done.value.code or 0)


@forms
def test_project_has_its_parts(kind: str, runtime: str, tmp_path: Path) -> None:
    """Package, metadata, one worker, its tests with the kit, README, licence, and a file for CI."""
    assert 0 == new(kind, "my-thing", "--runtime", runtime)
    target = tmp_path / "fairlead-my-thing"
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    source = "src/fairlead_my_thing"
    expected = {
        ".github/workflows/ci.yml",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        f"{source}/__init__.py",
        f"{source}/fairlead-plugin.json",
        f"{source}/plugin.py",
        f"{source}/py.typed",
        "tests/test_fairlead_my_thing.py",
    }
    assert expected == found


@forms
def test_project_is_short(kind: str, runtime: str) -> None:
    """All its files together, as somebody reads them before the first change."""
    made = render(kind, "my-thing", "fairlead-my-thing", "MIT", runtime)
    texts = {path: text for path, text in made.items() if path != "LICENSE"}
    count = sum(1 for text in texts.values() for line in text.splitlines() if line.strip())
    assert count < LINES, count


@forms
@pytest.mark.parametrize("name", ["dice", "a", "my-long-name-7"])
@pytest.mark.parametrize("license_", ["MIT", "Apache-2.0", "none"])
def test_metadata_is_in_order(kind: str, runtime: str, name: str, license_: str) -> None:
    """For each name and licence: the manifest matches its schema, defaults match the settings, the rest parses."""
    texts = render(kind, name, f"fairlead-{name}", license_, runtime)
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    assert f"fairlead-{name}" == project["name"]
    assert {KINDS[kind].group: [name]} == {
        group.removeprefix("fairlead."): list(points) for group, points in project["entry-points"].items()
    }
    assert ("LICENSE" in texts, license_ != "none") == (license_ != "none", "license" in project)
    (path,) = (path for path in texts if path.endswith("fairlead-plugin.json"))
    manifest = json.loads(texts[path])
    check("plugin-manifest", manifest)
    assert runtime == manifest["runtime"]
    assert ("import asyncio" in texts[path.replace("fairlead-plugin.json", "plugin.py")]) == (runtime == "asyncio")
    example = texts["README.md"].partition("```toml\n")[2].partition("```")[0]
    table = tomllib.loads(example)[KINDS[kind].group][name]
    assert build_validator(manifest["settings"]).is_valid(table)
    assert [] == [path for path, text in texts.items() if path.endswith(".py") and not ast.parse(text).body]
    assert [] == [path for path, text in texts.items() if "$" in text.replace("${{", "") and path != "LICENSE"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Dice", "next: fairlead new tool dice"),
        ("my dice", "expected small letters and digits with single dashes between"),
        ("../../etc", "expected small letters and digits"),
        ("7up", "next: fairlead new tool up"),
        ("x" * 41, "40 at most"),
        ("import", "'import' is a word of Python"),
        ("clock", "the name 'clock' is taken: fairlead-clock"),
        ("core", "the name 'core' is taken: fairlead-core"),
    ],
)
def test_name_that_will_not_do_is_refused(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what would; nothing is written."""
    assert 2 == new("tool", name)
    assert words in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())


def test_kind_without_a_form_for_asyncio_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the kinds that have one, and what works."""
    assert 2 == new("policy", "curfew", "--runtime", "asyncio")
    told = capsys.readouterr().err
    assert "expected channel or tool for asyncio, found policy" in told
    assert "next: fairlead new policy curfew" in told


def test_directory_that_is_there_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The next step is the same command with another directory; an empty one will do."""
    (tmp_path / "fairlead-dice").mkdir()
    (tmp_path / "fairlead-dice" / "mine").write_text("mine")
    assert 2 == new("tool", "dice")
    assert "next: fairlead new tool dice --directory OTHER" in capsys.readouterr().err
    assert ["mine"] == [path.name for path in (tmp_path / "fairlead-dice").iterdir()]
    (tmp_path / "other").mkdir()
    assert 0 == new("tool", "dice", "--directory", "other")
    assert (tmp_path / "other" / "pyproject.toml").is_file()


def test_directory_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file stands where a directory should be."""
    (tmp_path / "file").write_text("")
    assert 2 == new("tool", "dice", "--directory", "file/dice")
    assert "cannot be written" in capsys.readouterr().err


def test_distribution_may_have_another_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Package and directory are named after it; the plugin keeps its own name."""
    assert 0 == new("tool", "dice", "--distribution", "acme-games")
    target = tmp_path / "acme-games"
    assert (target / "src" / "acme_games" / "plugin.py").is_file()
    project = tomllib.loads((target / "pyproject.toml").read_text())["project"]
    assert ("acme-games", {"dice": "acme_games.plugin"}) == (project["name"], project["entry-points"]["fairlead.tools"])
    assert 2 == new("tool", "dice", "--distribution", "Acme Games")
    assert "expected small letters" in capsys.readouterr().err


def test_json_names_what_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts."""
    assert 0 == new("tool", "dice", "--json")
    told = json.loads(capsys.readouterr().out)
    assert "fairlead-dice" == told["directory"] == told["distribution"]
    assert "pyproject.toml" in told["files"]
