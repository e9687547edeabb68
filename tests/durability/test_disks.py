"""Disks that are full, fail or turn read-only while the app runs: it waits, says so, and loses nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio

import fairlead
from fairlead import App, Settings
from fairlead.config import Config
from fairlead.errors import JournalUnavailable
from fairlead.events import NoticeRaised, ToolReturned
from fairlead.testing import CapturingChannel, CountingTool, RecordingObserver, ScriptedProvider, calls
from fairlead_sqlite import SqliteMemory

from .traced import alone, injecting, needs_strace, told_in, wrong_after

MEGABYTE = 1_000_000
SIZE_MEGABYTES = 24

needs_mount = pytest.mark.skipif(
    not (os.geteuid() == 0 and shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/sbin"))
    and not os.environ.get("CI"),
    reason="needs root and mkfs.ext4: apt-get install e2fsprogs",
)


@contextmanager
def small_disk(directory: Path, kind: str) -> Iterator[Path]:
    """A file system of 24 MB."""
    place = directory / "disk"
    place.mkdir()
    image = directory / "image"
    if kind == "ext4":
        image.touch()
        os.truncate(image, SIZE_MEGABYTES << 20)
        subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", image], check=True)
        mount: list[str | Path] = ["mount", "-o", "loop", image, place]
    else:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MEGABYTES}m", "small", place]
    subprocess.run(mount, check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path) -> None:
    """To the brim."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(MEGABYTE)):
            continue
    with suppress(OSError), (disk / "more").open("wb", buffering=0) as file:
        while file.write(bytes(1000)):
            continue


def clear(disk: Path) -> None:
    (disk / "filler").unlink()
    (disk / "more").unlink()


async def results(app: App, session: str) -> list[str]:
    records = await app.sessions.records(session)
    return [record.event.result.error for record in records if isinstance(record.event, ToolReturned)]


@needs_mount
@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
async def test_full_disk_makes_the_app_read_only_until_there_is_space(kind: str, tmp_path: Path) -> None:
    """The turn in flight keeps the result of its call; messages come again; each conversation is told once."""
    with small_disk(tmp_path, kind) as disk:

        def act(_: object) -> str:
            fill(disk)
            return "x" * MEGABYTE

        tool = CountingTool("act", act, effect="once")
        channel, seen = CapturingChannel(), RecordingObserver()
        provider = ScriptedProvider(["hello", calls(("act", {})), "it is done", "welcome back"])
        memory = SqliteMemory(Settings("sqlite", {}, disk))
        config = Config(data_dir=disk)
        async with (
            fairlead.open(
                config, providers=[provider], channels=[channel], memories=[memory], tools=[tool], observers=[seen]
            ) as app,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(app.serve)
            await channel.say("hi")
            await channel.next()
            receipt = await channel.say("act")
            await seen.wait_for(NoticeRaised, 2)  # the first one says where the channel listens
            for _ in range(2):
                with pytest.raises(JournalUnavailable, match="full"):
                    await channel.say("are you there?", external_id="again", conversation="other")
            assert "could not be kept" in (await channel.next()).parts[0].text  # type: ignore[union-attr]  # it is text
            assert [False] == [finding.ok for finding in await app.check() if finding.subject == "journal"]
            clear(disk)
            with trio.fail_after(30):  # real time: the disk is one
                assert "it is done" == (await channel.next()).parts[0].text  # type: ignore[union-attr]  # as above
            assert ([""], 1) == (await results(app, receipt.session), len(tool.calls))
            assert "accepted" == (await channel.say("here?", external_id="again", conversation="other")).status
            assert "welcome back" == (await channel.next()).parts[0].text  # type: ignore[union-attr]  # as above
            assert [] == [finding for finding in await app.check() if finding.subject == "journal"]
            app.stop()
        told = [event.detail for event in seen.events(NoticeRaised) if event.subject == "journal"]
        assert ["the app is read-only now", "takes events again"] == [text.split(":")[0].split(";")[0] for text in told]


FAULTS = [
    "fdatasync:error=EIO:when=8",
    "fdatasync:error=EIO:when=12..13",
    "pwrite64:error=EIO:when=75",
    "pwrite64:error=ENOSPC:when=90..91",
    "pwrite64:error=EROFS:when=100..101",
]


@needs_strace
@pytest.mark.parametrize("fault", FAULTS)
def test_failing_calls_of_the_kernel_lose_nothing(fault: str, tmp_path: Path) -> None:
    """One process lives through it: each message is answered, and its call is made and known once."""
    trace = tmp_path / "trace"
    assert 0 == alone("tool_that_runs_once", tmp_path, *injecting(fault, trace))
    assert "(INJECTED)" in trace.read_text()
    effects = [words for words in told_in(tmp_path) if words[0] == "effect"]
    assert 2 == len(effects)
    assert 0 == alone("tool_that_runs_once", tmp_path)  # which only looks
    assert [] == wrong_after("tool_that_runs_once", tmp_path)
    (state,) = [words[2] for words in told_in(tmp_path) if words[0] == "session"]
    assert (0, ["answered"] * 2) == (state["unknown_calls"], [outcome for _, _, outcome in state["ended"]])
