"""The two facets of a memory that runs elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fairlead.errors import FairleadError, JournalError, JournalUnavailable, SchemaError
from fairlead.events import Event, Record
from fairlead.memory import Journal, Note, Recall, SessionInfo
from fairlead.wire import encode_event, unstructure
from fairlead_sandbox.remote._data import parsed, parsed_list, parsed_record, plain
from fairlead_sandbox.remote._plugin import Far

__all__ = ["RemoteJournal", "RemoteRecall"]

T = TypeVar("T")

_MAX_SESSIONS = 1_000_000
_MAX_READ_CHARS = 512 * 1024 * 1024
"""Of one session: beyond it a journal is broken, or wants to fill this process."""
_PAGES = 8
"""Pages of records that may be on their way."""


class RemoteJournal(Journal):
    """A journal that runs elsewhere. What fails outside of its contract is a `JournalUnavailable`."""

    def __init__(self, far: Far) -> None:
        self._far = far

    async def append(self, session: str, expected_version: int, events: Sequence[Event], *, pending: bool) -> int:
        """As the contract says.

        `JournalUnavailable` also where the process is gone: whether the events were written is then not known, and
        reading the session again tells.
        """
        args = {
            "session": session,
            "expected_version": expected_version,
            "events": [encode_event(event).decode() for event in events],
            "pending": pending,
        }
        version = await self._ask("journal.append", args, lambda raw: plain(raw, int, "a version"), session)
        if version != expected_version + len(events):
            raise _wrong(f"it counts {version} after {len(events)} events on {expected_version}", session)
        return version

    async def read(self, session: str, after: int = 0) -> Sequence[Record]:
        """As the contract says; page by page, so that a session may be larger than a frame."""
        args = {"worker": self._far.number, "session": session, "after": after}
        records: list[Record] = []
        chars = 0
        try:
            peer = await self._far.plugin.link()
            async with peer.stream("journal.read", args, credit=_PAGES) as pages:
                async for page in pages:
                    for raw in page if type(page) is list else [page]:
                        records.append(parsed_record(raw, session, after + len(records) + 1))
                        chars += len(raw[1])
                    if chars > _MAX_READ_CHARS:
                        raise _wrong(f"the session has more than {_MAX_READ_CHARS} characters", session)
        except JournalError:
            raise
        except FairleadError as error:
            raise _wrong(error.problem, session) from error
        return records

    async def find(self, key: str) -> str | None:
        """As the contract says."""
        return await self._ask(
            "journal.find", {"key": key}, lambda raw: None if raw is None else plain(raw, str, "a session")
        )

    async def claim(self) -> Sequence[str]:
        """As the contract says."""
        return await self._ask("journal.claim", {}, _texts)

    async def sessions(
        self, *, owner: str | None = None, limit: int = 100, before: float | None = None
    ) -> Sequence[SessionInfo]:
        """As the contract says; a session of somebody else than `owner` is refused."""
        args = {"owner": owner, "limit": limit, "before": before}
        most = min(limit, _MAX_SESSIONS)
        found = await self._ask("journal.sessions", args, lambda raw: parsed_list(raw, SessionInfo, most))
        if owner is not None and any(info.owner != owner for info in found):
            raise _wrong(f"it lists sessions of others than {owner!r}")
        return found

    async def erase(self, session: str) -> bool:
        """As the contract says."""
        args = {"session": session}
        return await self._ask("journal.erase", args, lambda raw: plain(raw, bool, "whether there was one"), session)

    async def _ask(self, op: str, args: dict[str, Any], read: Callable[[Any], T], session: str = "") -> T:
        try:
            return read(await self._far.call(op, args))
        except JournalError:
            raise
        except FairleadError as error:
            raise _wrong(error.problem, session) from error


class RemoteRecall(Recall):
    """A recall that runs elsewhere. What it gives of another scope is refused."""

    def __init__(self, far: Far) -> None:
        self._far = far

    async def add(self, note: Note) -> Note:
        """As the contract says."""
        return _scoped([parsed(await self._far.call("recall.add", {"note": unstructure(note)}), Note)], note.scope)[0]

    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:
        """As the contract says."""
        found = await self._far.call("recall.search", {"scope": scope, "query": query, "limit": limit})
        return _scoped(parsed_list(found, Note, max(0, limit)), scope)

    async def erase(self, scope: str, note: str | None = None) -> int:
        """As the contract says."""
        args = {"scope": scope} | ({} if note is None else {"note": note})
        return plain(await self._far.call("recall.erase", args), int, "how many were removed")


def _scoped(notes: list[Note], scope: str) -> list[Note]:
    if any(note.scope != scope for note in notes):
        raise SchemaError(f"the plugin gave notes of another scope than {scope!r}", schema="boundary")
    return notes


def _texts(raw: Any) -> list[str]:
    if type(raw) is not list or len(raw) > _MAX_SESSIONS:
        raise _wrong("it gave no list of sessions")
    return [plain(each, str, "a session") for each in raw]


def _wrong(problem: str, session: str = "") -> JournalUnavailable:
    return JournalUnavailable(f"the journal's process failed: {problem}", session=session, next_step="fairlead doctor")
