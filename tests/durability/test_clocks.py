"""The wall clock is set back and forward by hours while turns run: nothing waits for it, all keeps its order."""

from __future__ import annotations

import glob
import json
import os
import random
import signal
import time
from pathlib import Path

import httpx2
import pytest
import trio

import fairlead
from fairlead import Settings
from fairlead.config import Config
from fairlead.testing import CapturingChannel, CountingTool, ScriptedProvider, calls
from fairlead_cli._audit import audit
from fairlead_sqlite import SqliteMemory

from ..cli.programs import Home
from .test_kills import CONFIG, SECRET, post, reading, where

HOURS = 3600.0
TURNS = 20
LIBRARIES = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")  # noqa: PTH207  # the machine's own, wherever it has it

needs_faketime = pytest.mark.skipif(
    not LIBRARIES and not os.environ.get("CI"), reason="needs libfaketime: apt-get install faketime"
)


class Jumping:
    """A clock that is somewhere else whenever one looks at it."""

    def __init__(self) -> None:
        self._chance = random.Random(5)  # noqa: S311  # the same jumps in each run

    def __call__(self) -> float:
        return 1_800_000_000.0 + self._chance.uniform(-12, 12) * HOURS


async def settled(app: fairlead.App) -> None:
    """Until the journal knows of the last answer, too."""
    while any(info.pending for info in await app.sessions.list()):
        await trio.lowlevel.checkpoint()


async def test_clock_that_jumps_at_each_look_changes_no_order(tmp_path: Path) -> None:
    """Turns, calls and answers come to their end, also in the next process; versions are the order, and no times."""
    answered = 0
    for _ in range(2):
        provider, tool, channel = ScriptedProvider(), CountingTool("act", effect="once"), CapturingChannel()
        for number in range(TURNS):
            provider.extend([calls(("act", {})), f"answer {number}"])
        memory = SqliteMemory(Settings("sqlite", {}, tmp_path))
        config = Config(data_dir=tmp_path)
        async with (
            fairlead.open(
                config, providers=[provider], tools=[tool], channels=[channel], memories=[memory], clock=Jumping()
            ) as app,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(app.serve)
            for number in range(TURNS):
                receipt = await channel.say("act")
                assert f"answer {number}" == (await channel.next()).parts[0].text  # type: ignore[union-attr]  # it is text
            await settled(app)
            answered += TURNS
            account = audit(receipt.session, await app.sessions.records(receipt.session))
            assert ([], answered, TURNS) == (account.faults, account.answered, len(tool.calls))
            app.stop()


@needs_faketime
def test_process_whose_clock_is_set_goes_on(tmp_path: Path) -> None:
    """Back by five hours, forward by nine: messages are taken by the new time, and each is answered once."""
    setting = tmp_path / "clock"
    setting.write_text("+0")
    variables = {
        "LD_PRELOAD": LIBRARIES[0],
        "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    home = Home(tmp_path, variables)
    names = set()
    with reading() as (reader, url), httpx2.Client() as client:
        home.configure(CONFIG.format(secret=SECRET, url=url))
        with home.start("run") as program:
            target = where(program)
            for step, hours in enumerate((0, -5, 9, -1)):
                setting.write_text(f"{hours * HOURS:+.0f}")
                for room in range(4):
                    name = f"m-{room}-{step}"
                    names.add(name)
                    assert post(client, target, name, now=time.time() + hours * HOURS)
            assert reader.wait_for(names)
            program.signal(signal.SIGTERM)
            assert 0 == program.wait()
    assert {1} == {len({answer["key"] for answer in reader.got[name]}) for name in names}
    found = json.loads(Home(tmp_path).run("sessions", "audit", "--json").stdout)
    assert (True, 16, 16) == (found["ok"], found["accepted"], found["sent"])
