"""A log that breaks off is read up to its first bad record; that is told, and the old log is kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import fairlead
from fairlead import Settings
from fairlead.config import Config
from fairlead.events import NoticeRaised
from fairlead.testing import RecordingObserver, ScriptedProvider
from fairlead_sqlite import SqliteMemory
from fairlead_sqlite._tail import MOST_KEPT, Tail, find_tail, kept_tails

from .opened import OpenMemory, file_of, opened, said, texts
from .test_log import FRAME_BYTES, log_of


@pytest.fixture
async def crashed(tmp_path: Path) -> Path:
    """A directory as a process leaves it that dies after 20 appends; its log has all of them."""
    first, second = tmp_path / "first", tmp_path / "second"
    async with opened(first) as memory:
        for version in range(20):
            await memory.journal.append("s", version, [said(str(version))], pending=True)
        await memory.writer.do(lambda _: None)
        second.mkdir()
        shutil.copytree(first / "sqlite", second / "sqlite", ignore=shutil.ignore_patterns("*-shm", "instances"))
    return second


def frames(log: bytes | bytearray) -> int:
    """Up to where the zeros begin."""
    return (len(log.rstrip(b"\0")) - 32 + FRAME_BYTES - 1) // FRAME_BYTES


async def kept(memory: OpenMemory) -> list[str]:
    """The texts of the session, which goes on."""
    found = await texts(memory.journal, "s")
    await memory.journal.append("s", len(found), [said("more")], pending=True)
    return found


async def test_whole_log_is_no_news(crashed: Path) -> None:
    """Nothing is told or copied where a process just died."""
    async with opened(crashed) as memory:
        assert [str(number) for number in range(20)] == await kept(memory)
        assert () == tuple(memory.notices)
    assert [] == kept_tails(file_of(crashed))


async def test_torn_end_is_cut_told_and_kept(crashed: Path) -> None:
    """The last append is in half: the others are there, and the journal goes on behind them."""
    log = bytearray(log_of(crashed).read_bytes())
    last = 32 + (frames(log) - 1) * FRAME_BYTES
    log[last + 1000 :] = bytes(len(log) - last - 1000)
    log_of(crashed).write_bytes(log)
    async with opened(crashed) as memory:
        assert [str(number) for number in range(19)] == await kept(memory)
        (told,) = memory.notices
        assert "broke off" in told
        found = await memory.check()
    (copy,) = kept_tails(file_of(crashed))
    assert bytes(log) == copy.read_bytes()
    assert 0o600 == copy.stat().st_mode & 0o777
    assert [True] == [finding.ok for finding in found if "log" in finding.subject]


async def test_damage_in_the_middle_is_a_fault(crashed: Path) -> None:
    """What comes behind it is left out; the doctor says so until somebody has looked at it."""
    log = bytearray(log_of(crashed).read_bytes())
    place = 32 + (frames(log) // 2) * FRAME_BYTES + 2000
    log[place : place + 10] = b"\xff" * 10
    log_of(crashed).write_bytes(log)
    async with opened(crashed) as memory:
        found = await kept(memory)
        assert found == [str(number) for number in range(len(found))]
        assert 0 < len(found) < 19
        assert "was damaged behind" in memory.notices[0]
        (finding,) = [finding for finding in await memory.check() if "log" in finding.subject]
    (copy,) = kept_tails(file_of(crashed))
    assert (False, f"rm {copy}") == (finding.ok, finding.next_step)


async def test_garbage_instead_of_a_log_is_no_refusal(crashed: Path) -> None:
    """The main file alone is a journal that can be read."""
    log_of(crashed).write_bytes(b"garbage" * 1000)
    async with opened(crashed) as memory:
        assert [] == await kept(memory)
        assert "was damaged behind 0 frames" in memory.notices[0]


async def test_old_copies_make_room(crashed: Path) -> None:
    """The newest three stay; what is erased is in none."""
    log = log_of(crashed)
    for number in range(MOST_KEPT + 2):
        log.with_name(f"{log.name}.torn-{number}").write_bytes(b"quartz")
    damaged = bytearray(log.read_bytes())
    damaged[32 + 5 * FRAME_BYTES + 50] ^= 1
    log.write_bytes(damaged)
    async with opened(crashed) as memory:
        assert MOST_KEPT == len(kept_tails(file_of(crashed)))
        await memory.journal.append("other", 0, [said()], pending=False)
        assert await memory.journal.erase("other")
        assert [] == kept_tails(file_of(crashed))


async def test_log_of_somebody_who_is_alive_is_left_alone(tmp_path: Path) -> None:
    """It changes while one looks at it."""
    async with opened(tmp_path) as first:
        await first.journal.append("s", 0, [said()], pending=True)
        async with opened(tmp_path) as second:
            assert () == tuple(second.notices)


async def test_operator_hears_of_it(crashed: Path) -> None:
    """As a notice, when the app opens."""
    log = bytearray(log_of(crashed).read_bytes())
    log[32 + 5 * FRAME_BYTES + 50] ^= 1
    log_of(crashed).write_bytes(log)
    memory, seen = SqliteMemory(Settings("sqlite", {}, crashed)), RecordingObserver()
    async with fairlead.open(
        Config(data_dir=crashed), providers=[ScriptedProvider()], memories=[memory], observers=[seen]
    ):
        notice = await seen.wait_for(NoticeRaised)
    assert "memories/sqlite" == notice.subject
    assert "frames were left out" in notice.detail


def test_log_of_nothing_has_no_tail() -> None:
    """Too short, or not begun."""
    assert [None, None] == [find_tail(b""), find_tail(bytes(5000))]
    assert "3 frames were left out" in Tail(5, 2).words
