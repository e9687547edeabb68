"""Sessions that are put away, brought back, and expire."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import fairlead
from fairlead import errors
from fairlead.config import Config, SessionLimits
from fairlead.testing import ScriptedProvider
from fairlead_cli._archive import DAY, archive, days_of, expired, prune_daily, put_away, restore
from fairlead_cli._failures import Refused


def opened(tmp_path: Path, clock: Any = time.time, **limits: Any) -> Any:
    config = Config(data_dir=tmp_path, sessions=SessionLimits(**limits))
    provider = ScriptedProvider(["fine"], repeat=True)
    return fairlead.open(config, providers=[provider], clock=clock)


async def test_archive_is_a_file_and_the_journal_forgets(tmp_path: Path) -> None:
    """Readable by its owner only, of the published schema; restored it is the same."""
    async with opened(tmp_path) as app:
        await app.ask("hello", session="main/chat//a b")
        before = await app.sessions.export("main/chat//a b")
        path = await archive(app, tmp_path, "main/chat//a b", app.sessions.erase)
        assert [] == list(await app.sessions.list())
        assert tmp_path / "archive" == path.parent
        assert path.name.startswith("main-chat-a-b-")
        assert 0o600 == path.stat().st_mode & 0o777
        assert before == json.loads(gzip.decompress(path.read_bytes()))
        assert "main/chat//a b" == await restore(app, path)
        assert before == await app.sessions.export("main/chat//a b")
        assert path.exists()


async def test_session_that_is_used_meanwhile_is_not_erased(tmp_path: Path) -> None:
    """The file is taken away again, and the session is whole."""
    async with opened(tmp_path) as app:
        await app.ask("hello", session="s")

        class Busy:
            """Somebody else speaks between the two readings."""

            def __init__(self) -> None:
                self.config, self.sessions, self._first = app.config, self, True

            async def export(self, session: str) -> Any:
                document = await app.sessions.export(session)
                if self._first:
                    self._first = False
                    await app.ask("again", session=session)
                return document

            async def list(self, **how: Any) -> Any:
                return await app.sessions.list(**how)

        with pytest.raises(errors.JournalError, match="somebody used"):
            await archive(Busy(), tmp_path, "s", app.sessions.erase)  # type: ignore[arg-type]  # what it uses of an app
        assert 4 == len(await app.sessions.history("s"))
    assert [] == list((tmp_path / "archive").iterdir())


async def test_only_what_nobody_used_expires(tmp_path: Path) -> None:
    """Counted from the last use; the oldest first."""
    now = [time.time() - 100 * DAY]
    async with opened(tmp_path, lambda: now[0]) as app:
        for name in ("oldest", "older"):
            await app.ask("hello", session=name)
            now[0] += DAY
        now[0] = time.time()
        await app.ask("hello", session="new")
        assert ["oldest", "older"] == list(await expired(app, 90))
        assert [] == list(await expired(app, 101))


@pytest.mark.parametrize(("policy", "files"), [("archive", 1), ("erase", 0)])
async def test_expiry_does_what_the_configuration_says(tmp_path: Path, policy: Any, files: int) -> None:
    """A file, or nothing at all."""
    async with opened(tmp_path, on_expiry=policy) as app:
        await app.ask("hello", session="s")
        told = await put_away(app, app.config, "s", app.sessions.erase)
        assert [] == list(await app.sessions.list())
    assert told.startswith(f"{policy}d")
    assert files == len(list(tmp_path.glob("archive/*.json.gz")))


async def test_gateway_prunes_once_a_day(tmp_path: Path, autojump_clock: MockClock) -> None:
    """At its start, and then each day; a fault is told and tried again."""
    assert autojump_clock.autojump_threshold == 0
    said: list[tuple[str, str, str]] = []
    async with opened(tmp_path, lambda: 0.0, retention_days=90) as app, trio.open_nursery() as nursery:
        await app.ask("hello", session="first")
        (tmp_path / "archive").write_text("in the way")
        nursery.start_soon(prune_daily, app, lambda *words: said.append(words))
        await trio.sleep(DAY / 2)
        assert ["error"] == [level for _, _, level in said]
        (tmp_path / "archive").unlink()
        await trio.sleep(DAY)
        assert [] == list(await app.sessions.list())
        nursery.cancel_scope.cancel()
    assert said[-1][1].startswith("first archived to ")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x1f\x8bbroken", gzip.compress(b"{}"), gzip.compress(b"[1]")[:-6]])
async def test_file_that_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    """Nothing is written."""
    (tmp_path / "x.gz").write_bytes(data)
    async with opened(tmp_path) as app:
        with pytest.raises(Refused, match="is no archive of a session"):
            await restore(app, tmp_path / "x.gz")
        with pytest.raises(Refused, match="cannot be read"):
            await restore(app, tmp_path / "missing.gz")
        assert [] == list(await app.sessions.list())


@pytest.mark.parametrize(("text", "days"), [("90d", 90), ("12w", 84), ("36h", 1.5), ("0.5d", 0.5)])
def test_times_are_read(text: str, days: float) -> None:
    """Days, weeks, hours."""
    assert days == days_of(text)


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "90 d", "9999999d", "1e3d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(Refused, match="expected a time such as 90d"):
        days_of(text)
