"""The promises of every memory."""

from __future__ import annotations

from pathlib import Path

from fairlead import Memory, Settings
from fairlead.testing import MemoryConformance
from fairlead_sqlite.plugin import fairlead_memories


class TestSqlite(MemoryConformance):
    """On a file, as the core makes it; and in a process that is killed."""

    entry_point = "fairlead_sqlite.plugin"

    def settings(self, tmp_path: Path) -> Settings:
        return Settings("sqlite", data_dir=tmp_path)

    async def make_worker(self, tmp_path: Path) -> Memory:
        (memory,) = fairlead_memories(self.settings(tmp_path))
        return memory
