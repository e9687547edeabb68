"""The log of an app: everything that happened, and delay for nobody."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

import fairlead
from fairlead import Settings
from fairlead.config import Config, PluginConfig
from fairlead.errors import ConfigError
from fairlead.events import NoticeRaised, Record
from fairlead.testing import ScriptedProvider
from fairlead_logs._observer import Log


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def config(directory: Path, **options: Any) -> Config:
    return Config(data_dir=directory, plugins=(PluginConfig("channels", "logs", options=options),))


async def ask(configured: Config, *questions: str) -> None:
    async with fairlead.open(configured, providers=[ScriptedProvider(["an answer"], repeat=True)]) as app:
        for question in questions:
            await app.ask(question, session="talk")


async def test_app_is_followed_from_message_to_answer(tmp_path: Path) -> None:
    """By ids that connect the lines; of what was said nothing but its size."""
    await ask(config(tmp_path, file="logs/app.jsonl"), "a question")
    found = lines(tmp_path / "logs" / "app.jsonl")
    kinds = [line["event"] for line in found]
    assert ["message_accepted", "turn_started", "model_answered", "turn_ended"] == [
        kind for kind in kinds if kind not in ("session_started", "notice_raised")
    ]
    of = {line["event"]: line for line in found}
    assert [of["message_accepted"]["message"]["id"]] == of["turn_started"]["messages"]
    assert of["turn_started"]["turn"] == of["turn_ended"]["turn"]
    assert {"talk"} == {line["session"] for line in found if line["session"]}
    text = (tmp_path / "logs" / "app.jsonl").read_text()
    assert ("question" in text, "an answer" in text) == (False, False)


async def test_content_is_there_for_whoever_wants_it(tmp_path: Path) -> None:
    """And the levels that are wanted; a file that is there is continued."""
    await ask(config(tmp_path, file="l", content=True), "one", "two")
    before = len(lines(tmp_path / "l"))
    await ask(config(tmp_path, file="l", content=True, level="error"), "three")
    found = lines(tmp_path / "l")
    assert before == len(found)
    assert ["one", "two"] == [line["message"]["text"] for line in found if line["event"] == "message_accepted"]


async def test_lines_go_to_standard_error_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All are there when the app is closed."""
    await ask(config(tmp_path), "a question")
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert "turn_ended" == [line["event"] for line in told if line["event"] != "notice_raised"][-1]


async def test_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    """The rest of the app goes on."""
    (tmp_path / "logs").write_text("a file, and no directory")
    async with fairlead.open(config(tmp_path, file="logs/app.jsonl"), providers=[ScriptedProvider(["yes"])]) as app:
        (report,) = [report for report in app.reports if report.plugin == "channels/logs"]
        assert "cannot be written" in str(report.error)
        assert "yes" == (await app.ask("there?")).text


async def test_options_are_checked(tmp_path: Path) -> None:
    """By the manifest, before anything starts."""
    with pytest.raises(ConfigError, match="keep"):
        await ask(config(tmp_path, keep=0))


def notice(detail: str) -> Record:
    return Record("", 0, NoticeRaised(subject="x", detail=detail))


class Slow:
    """A disk that waits until it is let go, and fails when it is told to."""

    def __init__(self) -> None:
        self.free, self.asked = threading.Event(), threading.Event()
        self.fails = False
        self.written: list[dict[str, Any]] = []

    def write(self, lines: Sequence[str]) -> None:
        self.asked.set()
        self.free.wait()
        if self.fails:
            raise OSError(28, "No space left on device")
        self.written += map(json.loads, lines)

    def close(self) -> None:
        self.free.wait()


async def opened(tmp_path: Path, slow: Slow, most: int) -> Log:
    """A log that has handed its first line to the disk."""
    log = Log(Settings("logs", data_dir=tmp_path), slow, most_waiting=most)
    await log.open()
    await log.observe(notice("first"))
    await trio.to_thread.run_sync(slow.asked.wait)
    return log


async def test_slow_disk_delays_nobody_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    """At most so many lines wait; the next one that is written says how many were not."""
    slow = Slow()
    log = await opened(tmp_path, slow, 3)
    for number in range(10):
        await log.observe(notice(str(number)))
    slow.free.set()
    await log.close()
    told = [line.get("detail", line.get("count")) for line in slow.written]
    assert ["first", 7, "0", "1", "2"] == told


async def test_full_disk_is_told_once_and_counted(tmp_path: Path) -> None:
    """The log goes on when there is room again."""
    slow = Slow()
    slow.fails = True
    log = await opened(tmp_path, slow, 100)
    slow.free.set()
    while not (findings := [each for each in await log.check() if not each.ok]):  # noqa: ASYNC110  # another thread's
        await trio.sleep(0.01)  # real time: a thread of its own writes
    assert "No space left" in findings[0].detail
    slow.fails = False
    await log.observe(notice("again"))
    await log.close()
    assert [("lines_lost", 1), ("notice_raised", None)] == [(line["event"], line.get("count")) for line in slow.written]
    assert [True] == [each.ok for each in await log.check()]


async def test_disk_that_never_answers_does_not_hold_the_end_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread is left behind; it ends with the process."""
    monkeypatch.setattr("fairlead_logs._observer.CLOSE_SECONDS", 0.05)
    slow = Slow()
    log = await opened(tmp_path, slow, 3)
    with trio.fail_after(5):
        await log.close()
        await log.close()
    slow.free.set()
