"""`fairlead budgets`, with the app that spends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apsw
import attrs
import pytest

import fairlead
from fairlead import ModelAnswer, ModelInfo, Principal, Text, Usage, config
from fairlead.testing import ScriptedProvider
from fairlead_cli import _budgets
from fairlead_cli.command import main

CONFIG = """
[policies.budgets.limits.daily]
dollars = 1
window = "day"
[policies.budgets.limits.person]
scope = "principal"
requests = 2
rolling = "24h"
"""
PRICED = ModelInfo("m", max_output=100, input_price=1.0, output_price=10.0)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIRLEAD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("FAIRLEAD_CONFIG", "FAIRLEAD_PROFILE", "FAIRLEAD_MODEL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "fairlead.toml").write_text(CONFIG)


def budgets(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as done:
        main(["budgets", *arguments])
    return int(done.value.code or 0), *capsys.readouterr()


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    code, out, err = budgets(capsys, *arguments, "--json")
    assert 0 == code, err
    return json.loads(out)


async def spend(requests: int = 2) -> None:
    """In an app of the same configuration."""
    answer = ModelAnswer((Text("fine"),), usage=Usage(1000, 100, cost=0.25))
    model = ScriptedProvider([answer], repeat=True, name="p", models=[PRICED])
    loaded = config.load("fairlead.toml")
    policies = tuple(plugin for plugin in loaded.plugins if plugin.name == "budgets")
    assert 1 == len(policies)
    made = attrs.evolve(loaded, plugins=policies, models={"default": (config.ModelRef("p", "m"),)})
    async with fairlead.open(made, providers=[model]) as app:
        for number in range(requests):
            await app.ask("hi", session=f"s{number}", principal=Principal("kit:\x1b[31mann"))


async def test_what_was_spent_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Every budget, whose it is, how much of it is used; nothing in it moves the cursor."""
    _, out, _ = budgets(capsys, "list")
    daily, person = cut(out)
    assert ["daily", "all", "$0.00", "of", "$1.00", "0%", "day"] == daily.split()[:7]
    assert ["person", "*", "0", "of", "2", "requests", "0%", "24h"] == person.split()
    await spend()
    _, out, err = budgets(capsys, "list")
    daily, person = cut(out)
    assert "$0.50 of $1.00" in daily
    assert "2 of 2 requests" in person
    assert "Used up: person." in err
    assert "\x1b" not in out
    listed = found(capsys, "list")
    assert [("daily", 0.5), ("person", 1.0)] == [(each["budget"], each["share"]) for each in listed]


def cut(out: str) -> list[str]:
    """The rows below the headings."""
    return out.splitlines()[1:]


async def test_one_budget_is_shown_with_its_entries(capsys: pytest.CaptureFixture[str]) -> None:
    """Newest first."""
    await spend()
    _, out, _ = budgets(capsys, "show", "person")
    assert 4 == sum("p/m" in line for line in out.splitlines())
    shown = found(capsys, "show", "daily")
    assert ["settled", "reserved", "settled", "reserved"] == [entry["kind"] for entry in shown["entries"]]
    assert ["daily"] == [account["budget"] for account in shown["accounts"]]


async def test_budget_is_credited_and_reset(capsys: pytest.CaptureFixture[str]) -> None:
    """With a reason, which the ledger keeps."""
    await spend()
    (account,) = found(capsys, "credit", "daily", "0.25", "--reason", "a demo")
    assert 0.25 == account["used_dollars"]
    assert "a demo" in budgets(capsys, "show", "daily")[1]
    who = found(capsys, "list")[1]["who"]
    (account,) = found(capsys, "reset", "person", "--who", who, "--reason", "a test")
    assert 0 == account["used_requests"]
    assert "goes by the clock again" in budgets(capsys, "time", "--reason", "x")[1]


async def test_report_adds_up_by_person_and_model(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the last month, where nothing else is typed."""
    assert "Nothing was spent." in budgets(capsys, "report")[2]
    await spend()
    (row,) = found(capsys, "report", "--by", "model", "--since", "1h")
    assert ("p/m", 2, 2000, 200, 0.5) == tuple(
        row[name] for name in ("who", "requests", "input_tokens", "output_tokens", "dollars")
    )
    _, out, _ = budgets(capsys, "report")
    assert "$0.50" in out
    assert "\x1b" not in out


async def test_audit_is_well_and_finds_what_is_not(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With exit code 1 for a fault."""
    await spend()
    assert (0, True) == (budgets(capsys, "audit")[0], "every figure is theirs" in budgets(capsys, "audit")[1])
    connection = apsw.Connection(str(tmp_path / "data" / "budgets" / "budgets.db"))
    connection.execute("UPDATE accounts SET nano = nano - 1")
    connection.close()
    code, out, _ = budgets(capsys, "audit")
    assert (1, True) == (code, "do not amount to the figures" in out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "nope"), "there is no budget 'nope'; there are: daily, person"),
        (("credit", "person", "1", "--reason", "x"), "each principal has an account"),
        (("report", "--since", "soon"), "expected a time such as 90m, 24h or 7d, found 'soon'"),
    ],
)
def test_what_is_wrong_is_refused(arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2 and the next step."""
    code, _, err = budgets(capsys, *arguments)
    assert (2, True, True) == (code, words in err, "next: " in err), err


def test_configuration_without_budgets_says_what_to_write(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Two lines of fairlead.toml."""
    (tmp_path / "fairlead.toml").write_text("")
    code, _, err = budgets(capsys, "list")
    assert (2, True) == (code, "[policies.budgets.limits.monthly] dollars = 20" in err), err


def test_table_that_is_none_is_refused_in_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The schema has not looked at it here; `doctor` says what is wrong with it."""
    (tmp_path / "fairlead.toml").write_text("[[policies.budgets.limits]]\nrequests = 5\n")
    code, _, err = budgets(capsys, "list")
    assert 2 == code
    assert "the table is not as expected" in err
    assert "fairlead doctor" in err


def test_package_that_is_missing_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The next step installs it."""
    monkeypatch.setattr(_budgets, "PACKAGE", "fairlead-budgets-of-nobody")
    code, _, err = budgets(capsys, "list")
    assert (2, True) == (code, "next: pip install fairlead-budgets-of-nobody" in err)
