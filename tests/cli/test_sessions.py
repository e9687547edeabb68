"""What people do with sessions, models, policies and plugins, as processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fairlead import wire

from ..providers.fake_servers import Fails, Says, calculate_then_say

if TYPE_CHECKING:
    from .conftest import MakeHome
    from .programs import Home

SESSION = "main/terminal//sums"


def test_sessions_round_trip(home: Home) -> None:
    """Listed, shown, copied, gone back, exported, erased: each with what the others left."""
    assert 0 == home.run("chat", "--session", "sums", "What is 17 * 23?").returncode

    listed = json.loads(home.run("sessions", "list", "--json").stdout)
    assert [(SESSION, False)] == [(each["id"], each["pending"]) for each in listed]
    version = listed[0]["version"]

    shown = home.run("sessions", "show", SESSION).stdout
    for words in ("What is 17 * 23?", '· calculate(expression="17 * 23")', "· calculate → 391", "17 * 23 = 391."):
        assert words in shown

    copy = home.run("sessions", "fork", SESSION).stdout.strip()
    assert "17 * 23 = 391." in home.run("sessions", "show", copy).stdout

    assert 0 == home.run("sessions", "rollback", SESSION, "--to", "1").returncode
    after = home.run("sessions", "show", SESSION).stdout
    assert "rolled back to version 1" in after
    assert "2~ " in after

    assert 0 == home.run("sessions", "export", SESSION, "-o", "sums.json").returncode
    document = json.loads((home.path / "sums.json").read_text("utf-8"))
    wire.check("session-export", document)
    assert list(range(1, version + 2)) == [event["version"] for event in document["events"]]

    asked = home.run("sessions", "erase", SESSION, stdin="n\n")
    assert (0, True) == (asked.returncode, "Nothing was erased" in asked.stderr)
    assert 0 == home.run("sessions", "erase", SESSION, "--yes").returncode
    gone = home.run("sessions", "show", SESSION)
    assert (2, "") == (gone.returncode, gone.stdout)
    assert "next: fairlead sessions list" in gone.stderr


def test_long_session_is_compacted_put_away_and_brought_back(home: Home) -> None:
    """Each command with what the one before has left; the words stay in the journal all the time."""
    place = "main/terminal//long"
    quiet = "The harbour was quiet and the crew went on with the usual work. " * 20
    for number in range(4):
        told = f"We decided that service-{number} listens at 10.0.0.{number}. {quiet}"
        assert 0 == home.run("chat", "--session", "long", told).returncode

    made = json.loads(home.run("sessions", "compact", place, "--json").stdout)
    assert made["compacted"]
    assert made["tokens_after"] < made["tokens_before"]
    shown = home.run("sessions", "show", place).stdout
    for words in (
        "compacted: about",
        "summary by rehearsal/rehearsal: [A summary",
        "- We decided that service-0 listens at",
    ):
        assert words in shown
    assert f"service-0 listens at 10.0.0.0. {quiet[:40]}" in shown

    assert 0 == home.run("sessions", "undo", place).returncode
    assert "the newest compaction was undone" in home.run("sessions", "show", place).stdout
    again = home.run("sessions", "undo", place)
    assert (1, True) == (again.returncode, f"next: fairlead sessions compact {place}" in again.stderr)

    archived = json.loads(home.run("sessions", "archive", place, "--json").stdout)["sessions"]
    assert [] == json.loads(home.run("sessions", "list", "--json").stdout)
    assert 0 == home.run("sessions", "restore", archived[place]).returncode
    assert f"service-0 listens at 10.0.0.0. {quiet[:40]}" in home.run("sessions", "show", place).stdout
    assert 0 == home.run("sessions", "audit").returncode

    none = home.run("sessions", "prune")
    assert (2, True) == (none.returncode, "[sessions] retention_days = 90" in none.stderr)
    assert {"sessions": {}} == json.loads(home.run("sessions", "archive", "--older-than", "1d", "--json").stdout)


def test_policy_is_explained(home: Home) -> None:
    """The outcome, the rule and its layer; what no rule allows is denied, and why is said."""
    allowed = json.loads(home.run("policy", "explain", "calculate", '{"expression": "1"}', "--json").stdout)
    assert {"effect": "allow", "layer": "app", "policy": "rules"}.items() <= allowed.items()
    denied = home.run("policy", "explain", "delete_everything")
    assert 0 == denied.returncode
    assert "delete_everything(): deny" in denied.stdout
    assert "default: no policy of the app layer allows this tool" in denied.stdout
    broken = home.run("policy", "explain", "calculate", "{")
    assert (2, "") == (broken.returncode, broken.stdout)


def test_models_are_listed_by_provider(openai_home: MakeHome) -> None:
    """With the alias that leads to them."""
    home = openai_home(calculate_then_say)
    assert ["openai/fake-large", "default"] == home.run("models").stdout.splitlines()[1].split()[:2]
    listed = json.loads(home.run("models", "--json").stdout)
    assert ["fake-large", "fake-small"] == [model["name"] for model in listed["openai"]]


def test_failed_provider_is_told_and_reset(openai_home: MakeHome) -> None:
    """What a chat ran into is known to the next commands, until somebody resets it; no list of sessions shows it."""
    home = openai_home([Fails(402, {"error": {"message": "no credit"}}), Says("Hello.")])
    failed = home.run("chat", "hi")
    assert "The next try makes sense in 10 minutes" in failed.stderr
    doctor = home.run("doctor")
    assert 1 == doctor.returncode
    assert "its only credential rests after 1 x BillingFailed; it is asked again in 10 minutes" in doctor.stdout
    assert "next: mend what failed, or type: fairlead models reset openai" in doctor.stdout
    assert "openai has failed and may be resting; see: fairlead doctor" in home.run("models").stderr
    assert 1 == len(json.loads(home.run("sessions", "list", "--json").stdout))
    assert {"provider": "openai", "reset": 1} == json.loads(home.run("models", "reset", "openai", "--json").stdout)
    assert "Nothing stood against openai." in home.run("models", "reset", "openai").stderr
    assert 2 == home.run("models", "reset", "nobody").returncode
    assert 0 == home.run("doctor").returncode


def test_doctor_finds_all_well(home: Home) -> None:
    """The default configuration of a fresh installation has no fault."""
    done = home.run("doctor")
    assert 0 == done.returncode, done.stdout
    assert "bad" not in done.stdout
    for subject in ("python: ", "configuration: ", "memories/sqlite: ", "journal: answers"):
        assert subject in done.stdout


def test_doctor_names_the_command_that_mends(home: Home) -> None:
    """Each fault with its next step, and 1 for scripts."""
    home.configure("[tools.clock]\n[tools.nothing]\n")
    done = home.run("doctor")
    assert 1 == done.returncode
    bad = done.stdout[done.stdout.index("bad") :]
    assert "tools/nothing" in bad
    assert "     next: " in bad


def test_what_init_writes_works(home: Home) -> None:
    """Asked at a terminal or not, the file that it leaves is good for a first answer."""
    done = home.run("init", stdin="rehearsal\nrehearsal\n\n")
    assert 0 == done.returncode, done.stderr
    assert 0 == home.run("doctor").returncode
    assert "391" in home.run("chat", "What is 17 * 23?").stdout
