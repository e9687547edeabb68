"""Whatever a plugin does, the host lives, others are answered, and its state is told: whole apps, default places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from fairlead import Settings
from fairlead.config import Config
from fairlead.events import MessageAccepted, TurnEnded
from fairlead_sqlite import SqliteMemory

from .misbehaviour import NAME, OTHERS, misbehave, scene

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("word", ["throw", "later", "leave", "exit", "crash", "leak", "flood", "fork", "kill"])
async def test_others_are_answered_whatever_a_plugin_does(
    word: str, config: Callable[..., Config], tmp_path: Path
) -> None:
    """All kinds do it at the same time; each works again, and a crash was told with its last words."""
    async with scene(config(*OTHERS), tmp_path) as made:
        await made.hello()
        async with trio.open_nursery() as nursery:
            for kind in OTHERS:
                nursery.start_soon(misbehave, made, kind, word)
            for _ in range(5):
                assert await made.hello() < 5.0
        assert await made.hello() < 5.0
        findings = {finding.subject: finding for finding in await made.app.check()}
        for kind in ("channels", "memories", "providers"):
            assert findings[f"{kind}/{NAME}"].ok, findings
            told = [text for text in made.notices.texts if text.startswith(f"plugins/{kind}/{NAME}: crashed")]
            assert word not in ("exit", "crash", "flood") or told, made.notices.texts
    await assert_nothing_lost(tmp_path)


async def assert_nothing_lost(tmp_path: Path) -> None:
    """Each message that was accepted has a turn that ended."""
    memory = SqliteMemory(Settings("journal", {}, tmp_path))
    await memory.open()
    try:
        assert memory.journal is not None
        for info in await memory.journal.sessions():
            records = await memory.journal.read(info.id)
            accepted = sum(isinstance(record.event, MessageAccepted) for record in records)
            ended = sum(isinstance(record.event, TurnEnded) for record in records)
            assert accepted == ended, info
    finally:
        await memory.close()
