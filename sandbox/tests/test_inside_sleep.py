"""Where nobody calls, the plugins are sent away as well; the next call has them loaded again."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead.errors import PluginLoadError
from fairlead_sandbox.errors import SandboxLost
from fairlead_sandbox.runner import Outcome, Table

from .inside_calls import run
from .inside_namespace import PATHS, Sandbox, sandbox
from .test_inside_immediate import children

AT_ONCE = {"rest_seconds": 0.0, "sleep_seconds": 0.0}
PLUGIN = """
from probes.plugin import Probes, fairlead_tools

exec(open('/mnt/own/as_it_loads').read())
"""


async def asleep(box: Sandbox) -> None:
    """Wait until beside the supervisor only the seed is there."""
    with trio.fail_after(10):
        while len(children(box)) > 1:  # noqa: ASYNC110  # the supervisor is another process
            await trio.sleep(0.01)  # real time: as above


@contextlib.asynccontextmanager
async def own(tmp_path: Path, later: str, **changes: Any) -> AsyncIterator[Sandbox]:
    """A sandbox that sleeps. When it is loaded again, its plugin does this first."""
    place = tmp_path / "own"
    place.mkdir()
    (place / "own.py").write_text(PLUGIN)
    (place / "as_it_loads").write_text("")
    changes = AT_ONCE | {"paths": ("/mnt/own", *PATHS)} | changes
    async with sandbox(tmp_path, tables=(Table("probes", "own"),), paths={"/mnt/own": place}, changes=changes) as box:
        await asleep(box)
        (place / "as_it_loads").write_text(later)
        yield box


async def echoed(box: Sandbox, code: str = "return 'awake'", **changes: Any) -> Outcome:
    with trio.fail_after(20):
        return await run(box, code, **changes)


@pytest.mark.parametrize("changes", [{}, {"identities": None, "record": None}], ids=["three users", "one user"])
async def test_sandbox_wakes_for_each_call_and_sleeps_again(tmp_path: Path, changes: dict[str, Any]) -> None:
    """What was in memory is not there any more; what a call left in the workspace is."""
    async with sandbox(tmp_path, changes=AT_ONCE | changes) as box:
        for number in range(3):
            await asleep(box)
            code = f"kept = sorted(os.listdir('.'))\nopen('{number}', 'w')\nreturn str(kept)"
            outcome = await echoed(box, code)
            assert (str([str(before) for before in range(number)]), None) == (outcome.value, outcome.error)
            assert outcome.usage.cpu_seconds < 1
        assert "probes" == (await box.runner.describe())[0]["table"]
        assert box.runner.usable


async def test_what_must_happen_once_is_remembered_asleep(tmp_path: Path) -> None:
    """The record is the supervisor's: the same call gets the same answer."""
    async with sandbox(tmp_path, changes=AT_ONCE) as box:
        code = "open('count', 'a').write('x')\nreturn 'counted'"
        for _ in range(2):
            await asleep(box)
            assert "counted" == (await echoed(box, code, call="c1", effect="once")).value
        assert "x" == (box.work / "count").read_text()


FAULTS = [
    ("raises", "raise RuntimeError('no licence any more')", "RuntimeError: no licence any more"),
    ("exits", "raise SystemExit(0)", "SystemExit"),
    ("leaves at once", "import os\nos._exit(0)", "the zygote has ended"),
    ("leaves a process", "import os, time\nif os.fork() == 0: time.sleep(99)", "left behind"),
    ("has other tools", "Probes.specs = lambda self: []", "other tools than at first"),
]


@pytest.mark.parametrize(("later", "says"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
async def test_plugin_that_does_not_load_again_is_told(tmp_path: Path, later: str, says: str) -> None:
    """As at the first start: typed, with its words; nothing of the call was begun, and the sandbox is dead."""
    async with own(tmp_path, later) as box:
        outcome = await echoed(box, "open('effect', 'w')", call="c1", effect="once")
        assert isinstance(outcome.error, PluginLoadError)
        assert says in str(outcome.error)
        assert [[], []] == [list(place.iterdir()) for place in (box.work, box.record)]
        assert not box.runner.usable
        with trio.fail_after(5):
            await box.process.wait()


async def test_plugin_that_hangs_as_it_loads_again_costs_the_call_its_time(tmp_path: Path) -> None:
    """Its limit is the call's."""
    async with own(tmp_path, "import time; time.sleep(99)") as box:
        outcome = await echoed(box, seconds=0.5)
        assert "the plugins were not loaded again in 0.5 s" in str(outcome.error)
        assert not box.runner.usable


async def test_call_that_is_cancelled_while_it_waits_harms_nothing(tmp_path: Path) -> None:
    """Nothing of it was begun, and the next one finds the plugins that were loaded for it."""
    async with own(tmp_path, "import time; time.sleep(0.5)") as box:
        for moment in (0.0, 0.05, 0.2):
            with trio.move_on_after(moment) as scope:
                await run(box, "open('effect', 'w')", "c1", effect="once")
            assert (True, True) == (scope.cancelled_caught, box.runner.usable)
        assert "[]" == (await echoed(box, "return str(os.listdir())")).value
        await asleep(box)
        assert "awake" == (await echoed(box)).value


async def test_host_that_dies_while_the_plugins_are_loaded_leaves_nothing(tmp_path: Path) -> None:
    """The end of the channel is seen at once."""
    async with own(tmp_path, "import time; time.sleep(99)") as box, trio.open_nursery() as nursery:

        async def lost() -> None:
            with pytest.raises(SandboxLost):
                await run(box, "pass")

        nursery.start_soon(lost)
        with trio.fail_after(5):
            while len(children(box)) < 2:  # noqa: ASYNC110  # the supervisor is another process
                await trio.sleep(0.01)  # real time: as above
            assert box.process.stdin is not None
            await box.process.stdin.aclose()
            await box.process.wait()


async def test_seed_that_was_killed_is_told_at_the_next_call(tmp_path: Path) -> None:
    """By a plugin, say, whose user it is; nobody waits."""
    async with sandbox(tmp_path, changes=AT_ONCE) as box:
        await asleep(box)
        os.kill(int(children(box)[0]), signal.SIGKILL)
        outcome = await echoed(box)
        assert isinstance(outcome.error, PluginLoadError)
        assert "the plugins cannot be loaded again" in str(outcome.error)
        assert not box.runner.usable


SEARCH = """
import ctypes, re
there = "-".join(("control", "word")).encode()
seen = {rb"control-wor[d]": 0, rb"kept-secre[t]": 0}
for line in open("/proc/self/maps"):
    words = line.split()
    if words[1].startswith("rw") and not words[-1].startswith("[v"):
        first, last = (int(word, 16) for word in words[0].split("-"))
        memory = ctypes.string_at(first, last - first)
        for word in seen:
            seen[word] += len(re.findall(word, memory))
Probes.seen = [count > 0 for count in seen.values()]
"""


async def test_memory_of_the_new_plugins_has_nothing_of_calls_before(tmp_path: Path) -> None:
    """They are no copy of the supervisor, which has read what calls were told."""
    async with own(tmp_path, SEARCH) as box:
        (tmp_path / "own/as_it_loads").write_text("")
        for _ in range(3):
            await echoed(box, environment={"WORD": "kept-secret" * 1000})
            await asleep(box)
        (tmp_path / "own/as_it_loads").write_text(SEARCH)
        seen = "from probes.plugin import Probes\nreturn str(Probes.seen)"
        assert "[True, False]" == (await echoed(box, seen)).value
