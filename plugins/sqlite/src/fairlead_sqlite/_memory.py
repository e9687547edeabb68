"""The worker: opens the file, offers both facets, and says how it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from fairlead import Finding, Memory, Settings
from fairlead.errors import JournalUnavailable

if TYPE_CHECKING:
    from fairlead_sqlite._clerk import Clerk
    from fairlead_sqlite._glance import Glance
    from fairlead_sqlite._holds import Holds
    from fairlead_sqlite._instances import Instance

__all__ = ["SqliteMemory"]

BUSY_SECONDS = 10.0
CHECK_SECONDS = 5.0
"""`fairlead doctor` gives ten for everything."""


class SqliteMemory(Memory):
    """Journal and recall in one SQLite file. Options: `path`, `busy_seconds`."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self.path = settings.data_dir / Path(settings.options.get("path", "sqlite/fairlead.db")).expanduser()
        self._busy_seconds = float(settings.options.get("busy_seconds", BUSY_SECONDS))
        self._clerks: tuple[Clerk, ...] = ()
        self._glance: Glance | None = None
        self._instance: Instance | None = None
        self._holds: Holds | None = None

    async def open(self) -> None:
        """Open the file, or make it. `JournalUnavailable`: it is damaged, newer than this program, or out of reach."""
        from fairlead_sqlite import _file  # noqa: PLC0415  # apsw is imported when a memory is opened
        from fairlead_sqlite._clerk import Clerk  # noqa: PLC0415  # the same
        from fairlead_sqlite._glance import Glance  # noqa: PLC0415  # the same
        from fairlead_sqlite._holds import Holds  # noqa: PLC0415  # the same
        from fairlead_sqlite._instances import Instance  # noqa: PLC0415  # the same
        from fairlead_sqlite._journal import SqliteJournal  # noqa: PLC0415  # the same
        from fairlead_sqlite._recall import SqliteRecall  # noqa: PLC0415  # the same
        from fairlead_sqlite._salvage import can_salvage, salvage  # noqa: PLC0415  # the same
        from fairlead_sqlite._tail import keep_tail  # noqa: PLC0415  # the same
        from fairlead_sqlite._writing import Writer  # noqa: PLC0415  # the same

        writer = Writer(self.path, self._busy_seconds)
        reader = Clerk(self.path, self._busy_seconds, _file.open_reading)
        self._clerks = (reader, writer)
        self._instance = instance = Instance(self.path.parent / "instances")
        self._holds = holds = Holds(self.path.with_name(f"{self.path.name}-work"))
        try:
            if instance.is_alone() and (told := await trio.to_thread.run_sync(keep_tail, self.path)):
                self.notices = (told,)
            try:
                await writer.start()
            except JournalUnavailable as error:
                if not (instance.is_alone() and can_salvage(self.path, error)):
                    raise
                told = await trio.to_thread.run_sync(salvage, self.path, self._busy_seconds)
                self.notices = (*self.notices, told)
                await writer.close()
                writer = Writer(self.path, self._busy_seconds)
                self._clerks = (reader, writer)
                await writer.start()
            await reader.start()
            self._glance = glance = await reader.do(lambda _: Glance(self.path))
            with _file.explained(instance.directory, self._busy_seconds):
                await trio.to_thread.run_sync(instance.appear)
                holds.open()
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.close()
            raise
        self.journal = SqliteJournal(self.path, writer, reader, glance, instance, holds)
        self.recall = SqliteRecall(self.path, writer, reader)

    async def close(self) -> None:
        """What was asked for is still written. Unfinished work can then be claimed by others."""
        if self._glance is not None:
            self._glance.close()
        for clerk in self._clerks:
            await clerk.close()
        if self._holds is not None:
            self._holds.close()
        if self._instance is not None:
            await trio.to_thread.run_sync(self._instance.leave)

    async def check(self) -> Sequence[Finding]:
        """The file and its size, a bounded check of its pages, the space on its disk, and logs that broke off."""
        from fairlead_sqlite._check import check_disk, check_file, check_tails  # noqa: PLC0415  # as in `open`

        def look() -> tuple[Finding, ...]:
            return check_file(self.path, CHECK_SECONDS), check_disk(self.path), *check_tails(self.path)

        return await trio.to_thread.run_sync(look, abandon_on_cancel=True)
