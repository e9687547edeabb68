"""Plugins by somebody who is not of Fairlead: built into wheels, installed beside ours, and used end to end."""

from __future__ import annotations

import json
import os
import random
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..sandbox.hosted import require_engine
from ..workspace import Environment, install
from .strangers import (
    BROKEN,
    CROUPIER,
    FUTURE,
    LEAVER,
    RIVAL,
    WHOLE,
    build_all,
    free_port,
    gateway,
    pager,
    write_config,
)

if TYPE_CHECKING:
    from ..conftest import MakeEnvironment

pytestmark = pytest.mark.packaging

HOST = {"isolation": "host"}
TABLES: dict[str, dict[str, Any]] = {
    "channels.pager": {**HOST, "port": 0},
    "providers.croupier": HOST,
    "tools.dice": HOST,
    "policies.curfew": {**HOST, "people": ["pager:mallory"], "tools": ["roll"], "most": 10},
    "policies.contacts": {"enabled": False},  # who pages is known here
}
MODELS = {"default": "croupier/script"}
LIST = """
import json, sys
from fairlead.plugins import installed
found = {f"{one.kind}/{one.name}/{one.distribution}": [one.version, one.problem] for one in installed()}
print(json.dumps([found, sorted(name for name in sys.modules if name.startswith(("acme", "rival")))]))
"""
OPEN = """
import json, sys, trio, fairlead

async def main():
    async with fairlead.open({config!r}) as app:
        reports = {{
            one.plugin: [one.status, one.distribution, type(one.error).__name__, str(one.error or "")]
            for one in app.reports
        }}
        tools = {{spec.name: app.worker_of(spec.name).level for spec in app.tools}}
    imported = sorted(name for name in sys.modules if name.startswith(("acme", "rival")) and "." not in name)
    print(json.dumps([reports, tools, imported]))

trio.run(main)
"""


def isolated() -> dict[str, dict[str, Any]]:
    """The same tables without a statement of trust: each plugin runs where its kind belongs."""
    tables = {
        name: {key: value for key, value in table.items() if key != "isolation"} for name, table in TABLES.items()
    }
    port = free_port()
    tables["channels.pager"] |= {"port": port, "listen": [f"127.0.0.1:{port}"]}
    return tables


@pytest.fixture(params=["trusted", pytest.param("isolated", marks=pytest.mark.docker)])
def serving(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """The tables of a gateway of strangers: all in the host, or each outside of it."""
    if request.param == "trusted":
        return {"models": MODELS, **TABLES}
    require_engine()
    return {"models": MODELS, **isolated()}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_all(tmp_path_factory.mktemp("strangers"), CROUPIER, RIVAL, FUTURE, BROKEN, LEAVER)


def wheels_of(wheels: Path, *names: str) -> list[Path]:
    return [next(wheels.glob(f"{name.replace('-', '_')}-*.whl")) for name in names]


@pytest.fixture(scope="module")
def environment(wheels: Path, make_environment: MakeEnvironment) -> Environment:
    """Ours, and the strangers who behave."""
    made = make_environment()
    install(made, *wheels_of(wheels, *WHOLE, CROUPIER.name))
    return made


@pytest.fixture(scope="module")
def crowded(wheels: Path, make_environment: MakeEnvironment) -> Environment:
    """Ours, and all strangers, of whom some do not fit."""
    made = make_environment()
    install(made, *wheels.glob("*.whl"))
    return made


def opened(environment: Environment, config: Path) -> tuple[dict[str, list[str]], dict[str, str], list[str]]:
    """Open an app in that environment: reports by plugin, where tools run, and which strangers were imported."""
    reports, tools, imported = json.loads(environment.run(OPEN.format(config=str(config))))
    return reports, tools, imported


def test_strangers_are_listed_without_being_imported(environment: Environment) -> None:
    """Name, kind, distribution and version are known from metadata alone."""
    found, imported = json.loads(environment.run(LIST))
    strangers = {name: about for name, about in found.items() if "acme" in name}
    expected = {
        "channels/pager/acme-pager": ["1.2.3", ""],
        "policies/curfew/acme-curfew": ["1.2.3", ""],
        "providers/croupier/acme-croupier": ["4.5.6", ""],
        "tools/dice/acme-dice": ["1.2.3", ""],
    }
    assert expected == strangers
    assert [] == imported


def test_installing_enables_nothing(environment: Environment, tmp_path: Path) -> None:
    """An app whose configuration does not name them has none of them."""
    config = write_config(tmp_path / "fairlead.toml", {"tools.clock": {}, "providers.croupier": HOST})
    reports, tools, imported = opened(environment, config)
    assert {"providers/croupier", "tools/clock"} <= set(reports)
    assert ["acme_croupier"] == imported
    assert "roll" not in tools


@pytest.mark.docker
def test_strangers_without_a_statement_of_trust_stay_outside(environment: Environment, tmp_path: Path) -> None:
    """All are ready, the tool in a container, and the host has imported none of them."""
    require_engine()
    reports, tools, imported = opened(environment, write_config(tmp_path / "fairlead.toml", isolated()))
    assert dict.fromkeys(("channels/pager", "providers/croupier", "tools/dice", "policies/curfew"), "ready") == {
        name: report[0] for name, report in reports.items() if report[1].startswith("acme")
    }
    assert "container" == tools["roll"]
    assert [] == imported


async def test_strangers_serve_from_end_to_end(
    environment: Environment, serving: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """`fairlead run` with a channel, a provider, a tool and a policy of theirs, over a real socket."""
    config = write_config(tmp_path / "fairlead.toml", serving)
    async with gateway(environment, config) as running:
        where = (await running.notice("channels/pager", "listening at"))["text"].rpartition(" ")[2]
        async with pager(where, "ann") as ann, pager(where, "mallory") as mallory:
            await ann.page(1, "roll 3")
            assert f"the dice say {dice(3)}" == await ann.shown()
            await ann.page(1, "roll 3")
            await ann.page(2, "roll 11")
            refused = await ann.shown()
            await mallory.page(1, "roll 3")
            silenced = await mallory.shown()
        assert 0 == await running.stop()
    assert re.match(r"sorry \(denied\): .*count may be 10 at most", refused, re.DOTALL), refused
    assert "mallory may not speak now" in silenced
    assert "dice" not in silenced


def dice(count: int) -> str:
    chance = random.Random(7)  # noqa: S311  # the same dice as the tool's
    rolled = [chance.randint(1, 6) for _ in range(count)]
    return f"{' + '.join(map(str, rolled))} = {sum(rolled)}"


async def test_answer_of_a_killed_gateway_is_not_shown_twice(
    environment: Environment, serving: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Killed while a pager was being shown the answer: the next process knows the message, and leaves the answer be."""
    config = write_config(tmp_path / "fairlead.toml", serving)
    async with gateway(environment, config) as running:
        where = (await running.notice("channels/pager", "listening at"))["text"].rpartition(" ")[2]
        async with pager(where, "ann") as ann:
            await ann.page(1, "roll 3")
            assert "SHOW" == (await ann.hear())[0]
            running.process.kill()
    async with gateway(environment, config) as running:
        where = (await running.notice("channels/pager", "listening at"))["text"].rpartition(" ")[2]
        async with pager(where, "ann") as ann:
            await ann.page(1, "roll 3")
            await ann.page(2, "hello")
            assert "I only roll dice" == await ann.shown()
        assert 0 == await running.stop()


@pytest.fixture(params=["process", "container", "kernel"])
def level(request: pytest.FixtureRequest) -> str:
    """Each of those outside of the host."""
    require_engine(runtime="runsc" if request.param == "kernel" else "")
    return str(request.param)


@pytest.mark.docker
async def test_channel_that_may_also_reach_hosts_is_reached(
    environment: Environment, tmp_path: Path, level: str
) -> None:
    """Both ways lie side by side, at each level."""
    tables = isolated()
    tables["channels.pager"] |= {"isolation": level, "hosts": ["example.org:443"]}
    config = write_config(tmp_path / "fairlead.toml", {"models": MODELS, **tables})
    async with gateway(environment, config) as running:
        where = (await running.notice("channels/pager", "listening at"))["text"].rpartition(" ")[2]
        async with pager(where, "ann") as ann:
            await ann.page(1, "hello")
            assert "I only roll dice" == await ann.shown()
        assert 0 == await running.stop()


async def test_channel_that_died_is_reached_again(environment: Environment, tmp_path: Path) -> None:
    """Its pager is cut off and connects at once, before there is a new process: it has to wait, and nothing else."""
    tables = {**TABLES, "channels.pager": isolated()["channels.pager"]}
    config = write_config(tmp_path / "fairlead.toml", {"models": MODELS, **tables})
    async with gateway(environment, config) as running:
        where = (await running.notice("channels/pager", "listening at"))["text"].rpartition(" ")[2]
        async with pager(where, "ann") as ann:
            os.kill(process_in(tmp_path / "data" / "work" / "channels-pager"), signal.SIGKILL)
            with pytest.raises(AssertionError, match="hung up"):
                await ann.hear()
        async with pager(where, "ann") as ann:
            await ann.page(1, "hello")
            assert "I only roll dice" == await ann.shown()
        assert 0 == await running.stop()


def process_in(place: Path) -> int:
    """The process that works in a directory."""
    for found in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (found / "cwd").readlink() == place:
                return int(found.name)
    pytest.fail(f"nobody works in {place}")


def test_two_distributions_of_one_name_are_refused_both_named(crowded: Environment, tmp_path: Path) -> None:
    """Neither is imported: nobody can slip under a name that is in use."""
    reports, _, imported = opened(crowded, write_config(tmp_path / "fairlead.toml", TABLES))
    status, distribution, error, text = reports["tools/dice"]
    assert ("failed", "PluginConflict") == (status, error)
    assert "acme-dice 1.2.3 and rival-dice 4.5.6" == distribution
    assert "pip uninstall" in text
    assert not {"acme_dice", "rival_dice"} & set(imported)


def test_plugin_for_another_api_is_refused_before_it_is_imported(crowded: Environment, tmp_path: Path) -> None:
    """Both versions are named."""
    tables = {"tools.future": HOST, "providers.croupier": HOST}
    reports, _, imported = opened(crowded, write_config(tmp_path / "fairlead.toml", tables))
    status, distribution, error, text = reports["tools/future"]
    assert ("failed", "acme-future 4.5.6", "PluginVersionError") == (status, distribution, error)
    assert "needs version 2.0" in text
    assert "offers 1." in text
    assert ["acme_croupier"] == imported


def test_plugin_that_fails_is_reported_and_the_rest_goes_on(crowded: Environment, tmp_path: Path) -> None:
    """One import fails, another one wants to end the process; their neighbours are ready."""
    tables = {**TABLES, "tools.broken": HOST, "policies.leaver": HOST}
    reports, _, _ = opened(crowded, write_config(tmp_path / "fairlead.toml", tables))
    assert {
        "channels/pager": "ready",
        "providers/croupier": "ready",
        "policies/curfew": "ready",
        "policies/leaver": "failed",
        "tools/broken": "failed",
        "tools/dice": "failed",
    } == {name: report[0] for name, report in reports.items() if not name.startswith("memories")}
    assert "a_module_that_nobody_has" in reports["tools/broken"][3]
    assert "acme-broken 4.5.6" in reports["tools/broken"][1]
    assert "SystemExit: goodbye" in reports["policies/leaver"][3]


def test_listing_names_what_does_not_fit(crowded: Environment) -> None:
    """A clash of names and a wrong API are known without importing anything."""
    found, imported = json.loads(crowded.run(LIST))
    problems = {name: problem for name, (_, problem) in found.items() if problem}
    assert {"tools/dice/acme-dice", "tools/dice/rival-dice", "tools/future/acme-future"} == set(problems)
    assert [] == imported
