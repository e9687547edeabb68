"""A look at the journal from the thread of trio, for the one question that is asked of each new session."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import apsw

from fairlead_sqlite._file import open_reading

__all__ = ["Glance"]


class Glance:
    """Tells how long a session is, without the round trip to a thread (100 us).

    It never waits for a lock, and looks at the few pages on the way to one row of an index. What is longer than that
    belongs into the thread.
    """

    def __init__(self, path: Path) -> None:
        """Not called in trio: reads the schema. `JournalUnavailable`: the file cannot be opened."""
        self._connection = open_reading(path, 0.0)
        self.version("")

    def version(self, session: str) -> int | None:
        """The version of the session, 0 where there is none; None: that cannot be told at once, or the look failed."""
        try:
            found: int | None = self._connection.execute("SELECT version FROM sessions WHERE id = ?", (session,)).get
        except (apsw.Error, UnicodeError):  # the thread meets the same and says it in words
            return None
        return found or 0

    def close(self) -> None:
        """The last call."""
        with suppress(apsw.Error):
            self._connection.close(True)
