"""How sandboxes begin and end: by dirt, by the end of the channel, by plugins that do not load."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import trio
from attrs import evolve

import fairlead_sandbox.inside
from fairlead.errors import PluginLoadError
from fairlead_sandbox.errors import SandboxLost
from fairlead_sandbox.runner import Table

from .inside_calls import Seen, lost, run
from .inside_namespace import require, sandbox

DIRT = [
    ("shared memory", "import ctypes\nctypes.CDLL(None).shmget(1234, 4096, 0o1666)", "System V"),
    ("semaphores", "import ctypes\nctypes.CDLL(None).semget(1234, 1, 0o1666)", "System V"),
    ("priority of the zygote", "os.setpriority(os.PRIO_PROCESS, os.getppid(), 5)", "scheduling"),
    ("processors of the zygote", "os.sched_setaffinity(os.getppid(), {0})", "scheduling"),
    (
        "priority of the seed",
        "seed = int(open(f'/proc/{os.getppid()}/stat').read().split()[3])\nos.setpriority(os.PRIO_PROCESS, seed, 5)",
        "scheduling",
    ),
]


@pytest.mark.parametrize("code", [case[1] for case in DIRT], ids=[case[0] for case in DIRT])
async def test_what_cannot_be_cleaned_ends_the_sandbox(tmp_path: Path, code: str) -> None:
    """The call has its result, nobody gets the sandbox after it, and it is dead by itself."""
    async with sandbox(tmp_path) as box:
        outcome = await run(box, code)
        assert ("done", None) == (outcome.value, outcome.error)
        assert not box.runner.usable
        with trio.fail_after(5):
            await box.process.wait()
        with pytest.raises(SandboxLost):
            await run(box, "pass")


async def test_end_of_the_channel_ends_everything_at_once(tmp_path: Path) -> None:
    """The host is gone: also in the middle of a call that ignores all."""
    seen = Seen()
    async with sandbox(tmp_path) as box:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lost, box, seen)
            await seen.first.wait()
            began = time.monotonic()
            assert box.process.stdin is not None
            await box.process.stdin.aclose()
            with trio.fail_after(5):
                await box.process.wait()
            assert time.monotonic() - began < 1
        assert not box.runner.usable


async def test_without_users_of_their_own_a_killed_zygote_is_told(tmp_path: Path) -> None:
    """One user for all: a call may harm the sandbox, which then is thrown away; nobody waits for it."""
    async with sandbox(tmp_path, changes={"identities": None, "record": None}) as box:
        began = time.monotonic()
        outcome = await run(box, "os.kill(os.getppid(), 9)\nawait trio.sleep(99)")
        assert time.monotonic() - began < 3
        assert None is not outcome.error
        assert not box.runner.usable


async def test_full_disk_of_the_record_starts_nothing(tmp_path: Path) -> None:
    """What cannot be noted is not begun; what was begun is answered, and unknown when it is asked again."""
    require()
    record = tmp_path / "record"
    record.mkdir()
    await trio.run_process(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(record)])
    try:
        async with sandbox(tmp_path) as box:
            large = "return 'x' * 20_000"
            assert 20_000 == len((await run(box, large, "c1", effect="once")).value)
            assert SandboxLost is type((await run(box, large, "c1", effect="once")).error)
            await run(box, large, "c2", effect="once")
            outcome = await run(box, "open('effect', 'w')", "c3", effect="once")
            assert "that it starts cannot be recorded" in str(outcome.error)
            assert "[]" == (await run(box, "return str(os.listdir())")).value
    finally:
        with trio.CancelScope(shield=True):
            await trio.run_process(["umount", "-l", str(record)])


async def test_supervisor_refuses_to_be_an_ordinary_process() -> None:
    """It would kill what is not its own."""
    start = "import sys; sys.path.insert(0, sys.argv[1]); from inside._supervisor import main; main()"
    place = str(Path(fairlead_sandbox.inside.__file__).parent.parent)
    done = await trio.run_process(
        [sys.executable, "-I", "-S", "-c", start, place], capture_stderr=True, check=False, stdin=b""
    )
    assert (1, True) == (done.returncode, b"must be process 1" in done.stderr)


# -- plugins that do not load

BAD = [
    ("raises", "raise RuntimeError('no licence')", "RuntimeError: no licence"),
    ("exits", "raise SystemExit(0)", "SystemExit"),
    ("leaves at once", "import os\nos._exit(0)", "the zygote has ended"),
    ("crashes", "import ctypes\nctypes.string_at(8)", "the zygote has ended"),
    ("has no hook", "x = 1", ""),
    ("leaves a process", "import os, time\nif os.fork() == 0: time.sleep(99)", "left behind"),
    ("is not there", None, "ModuleNotFoundError"),
]


@pytest.mark.parametrize(("source", "says"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_plugin_that_does_not_load_is_told(tmp_path: Path, source: str | None, says: str) -> None:
    """Typed, with its words; the sandbox is dead."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    if source is not None:
        (plugins / "bad.py").write_text(source)
    tables = (Table("bad", "bad"),)
    async with sandbox(tmp_path, start=False, tables=tables, paths={"/mnt/bad": plugins}) as box:
        setup = evolve(box.setup, paths=("/mnt/bad", *box.setup.paths))
        if not says:
            await box.runner.start(setup)
            assert [] == list(box.runner.workers)
            return
        with trio.fail_after(10), pytest.raises(PluginLoadError, match=says):
            await box.runner.start(setup)
        assert (False, True) == (box.runner.usable, box.killed)


async def test_without_users_of_their_own_it_works_and_says_so(tmp_path: Path) -> None:
    """One user for all: calls are still cleaned away."""
    async with sandbox(tmp_path, changes={"identities": None, "record": None}) as box:
        assert False is box.runner.facts["separate"]
        outcome = await run(box, "if os.fork() == 0: os.setsid(); __import__('time').sleep(99)")
        assert "done" == outcome.value
        assert "4" == (await run(box, "return str(len([n for n in os.listdir('/proc') if n.isdigit()]))")).value
