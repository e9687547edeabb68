"""A memory in plain files that keeps every promise; and, by name, each way to break one.

It is also an entry point, so that it can run in a process that is killed. An index is replaced as a whole; the events
of a session lie in a file of their own, which may have more than the index knows: what was begun and not finished.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import trio

from fairlead import Memory, Settings
from fairlead.errors import DuplicateKey, VersionConflict
from fairlead.events import Event, MessageAccepted, Record, SessionStarted
from fairlead.hookspecs import hookimpl
from fairlead.memory import Journal, SessionInfo
from fairlead.wire import decode_event, encode_event

from .kit_memory_recall import FileRecall

__all__ = ["FileMemory", "fairlead_memories"]


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Files:
    """The index of a directory, and who works on it."""

    def __init__(self, directory: Path, wrong: str) -> None:
        self.directory, self.wrong = directory, wrong
        self._late: dict[str, Any] | None = None
        self.me = f"owner-{os.urandom(8).hex()}"
        self._held: IO[bytes] | None = None

    def open(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._held = (self.directory / self.me).open("wb")
        fcntl.flock(self._held, fcntl.LOCK_EX)

    def close(self) -> None:
        if self._late is not None:
            self.write("index.json", self._late)
        if self._held is not None:
            self._held.close()
            (self.directory / self.me).unlink(missing_ok=True)

    def lives(self, owner: str) -> bool:
        if owner == self.me:
            return True
        try:
            with (self.directory / owner).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @contextmanager
    def changing(self) -> Iterator[dict[str, Any]]:
        """The index, alone; written at the end unless something was raised."""
        with (self.directory / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self.index()
            yield found
            if self.wrong == "writes after it answered" and self._late is not None:
                self.write("index.json", self._late)
            if self.wrong in ("writes when closed", "writes after it answered"):
                self._late = found
            else:
                self.write("index.json", found)

    def index(self) -> dict[str, Any]:
        if self._late is not None:
            late: dict[str, Any] = json.loads(json.dumps(self._late))
            return late
        try:
            found: dict[str, Any] = json.loads((self.directory / "index.json").read_bytes())
        except FileNotFoundError:
            return {"sessions": {}, "keys": {}, "erased": [], "clock": 0.0}
        return found

    def write(self, name: str, value: Any) -> None:
        new = self.directory / f"{name}.{self.me}"
        with new.open("wb") as file:
            file.write(json.dumps(value).encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.directory / name)


class FileJournal(Journal):
    """The journal, and its faults."""

    def __init__(self, files: Files, wrong: str) -> None:
        self.files, self.wrong = files, wrong
        self.late: tuple[str, list[Event]] | None = None
        self.lists: dict[str, list[Record]] = {}
        self.conflicts = 0
        self.mine: set[str] = set()

    def path(self, session: str) -> Path:
        return self.files.directory / f"session-{hashed(session)}"

    def name(self, text: str) -> str:
        return text.casefold() if self.wrong in ("folds names", "folds keys") else text

    async def append(self, session: str, expected_version: int, events: Sequence[Event], *, pending: bool) -> int:
        if self.wrong == "folds names":
            session = self.name(session)
        await self._before(session, expected_version, events, pending=pending)
        if self.wrong in ("looks and then writes", "looks for keys and then writes", "writes one by one"):
            return await self._append_slowly(session, expected_version, list(events), pending=pending)
        with self.files.changing() as index:
            self._change(index, session, expected_version, events, pending=pending)
        return len(events) if self.wrong == "gives the count of the append" else expected_version + len(events)

    async def _before(self, session: str, expected: int, events: Sequence[Event], *, pending: bool) -> None:
        """One place to be cancelled, before anything is done; and what goes wrong there."""
        if self.late is not None:
            late, self.late = self.late, None
            with self.files.changing() as index:
                version = index["sessions"].get(session, {"version": 0})["version"]
                self._change(index, session, version, events, pending=pending)
                self._change(index, late[0], index["sessions"][session]["version"], late[1], pending=pending)
            raise VersionConflict("too late")
        try:
            for _ in range(4):  # so long that a cancellation surely meets it
                await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            if self.wrong == "writes later":
                self.late = (session, list(events))
            raise

    async def _append_slowly(self, session: str, expected: int, events: list[Event], *, pending: bool) -> int:
        before = self.files.index()
        if self.wrong == "writes one by one":
            for place, event in enumerate(events):
                with self.files.changing() as index:
                    self._change(index, session, expected + place, [event], pending=pending)
                for _ in range(4):
                    await trio.lowlevel.checkpoint()
            return expected + len(events)
        self._check(before, session, expected, events)
        await trio.lowlevel.checkpoint()
        with self.files.changing() as index:
            version = index["sessions"].get(session, {"version": 0})["version"]
            if self.wrong == "looks for keys and then writes" and version != expected:
                raise VersionConflict("", expected=expected, found=version)
            self._write(index, session, expected, events, pending=pending)
        return expected + len(events)

    def _change(
        self, index: dict[str, Any], session: str, expected: int, events: Sequence[Event], *, pending: bool
    ) -> None:
        if self.wrong == "writes before it looks":
            early = self.files.index()
            early["keys"].update((key, session) for key in self._keys(events) if key not in early["keys"])
            self.files.write("index.json", early)
        if self.wrong == "wants each message once":
            texts = [event.message.id for event in events if isinstance(event, MessageAccepted)]
            if set(texts) & set(index.setdefault("messages", [])):
                raise DuplicateKey("that message is known")
            index["messages"] += texts
        self._check(index, session, expected, events)
        self._write(index, session, expected, events, pending=pending)

    def _keys(self, events: Sequence[Event]) -> list[str]:
        keys = [event.key for event in events if isinstance(event, MessageAccepted)]
        if self.wrong == "takes the empty key for one":
            return keys
        return [self.name(key) if self.wrong == "folds keys" else key for key in keys if key]

    def _check(self, index: dict[str, Any], session: str, expected: int, events: Sequence[Event]) -> None:
        found = index["sessions"].get(session, {"version": 0})["version"]
        if found != expected and self.wrong != "keeps versions in its memory":
            self.conflicts += 1
            fields = {} if self.wrong == "names no versions" else {"expected": expected, "found": found}
            raise VersionConflict(f"found version {found}", session=session, **fields)
        keys = self._keys(events)
        for place, key in enumerate(keys):
            held = index["keys"].get(key)
            known = held is not None or hashed(key) in index["erased"]
            if self.wrong == "knows keys of a session only":
                known = held == session
            if known or key in keys[:place]:
                raise DuplicateKey(f"key {key!r} is known", session=session, key=key)

    def _write(
        self, index: dict[str, Any], session: str, expected: int, events: Sequence[Event], *, pending: bool
    ) -> None:
        path = self.path(session)
        lines = path.read_bytes().splitlines(keepends=True)[:expected] if path.exists() else []
        lines += [self._encoded(event) + b"\n" for event in events]
        if self.wrong == "keeps a thousand":
            lines = lines[:1000]
        with path.open("wb") as file:
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())
        now = index["clock"] = max(time.time(), index["clock"] + 1e-5)
        owner = next((event.owner for event in events if isinstance(event, SessionStarted)), "")
        empty = {"created": now, "owner": "" if self.wrong == "forgets the owner" else owner}
        kept = index["sessions"].setdefault(session, empty)
        working = self.files.me if pending else ""
        kept.update(version=expected + len(events), updated=now, pending=pending, working=working)
        index["keys"].update(dict.fromkeys(self._keys(events), session))

    def _encoded(self, event: Event) -> bytes:
        data = encode_event(event)
        if self.wrong == "loses a field":
            data = data.replace(b'"reason":"x"', b'"reason":""')
        if self.wrong == "spoils words":
            data = data.replace(b"\\u0000", b"")
        return data[:1_000_000] + b'"' if self.wrong == "keeps little" and len(data) > 1_000_000 else data

    async def read(self, session: str, after: int = 0) -> Sequence[Record]:
        await trio.lowlevel.checkpoint()
        session = self.name(session) if self.wrong == "folds names" else session
        index = self.files.index()
        if session not in index["sessions"]:
            if self.wrong == "raises for an unknown session":
                raise KeyError(session)
            return []
        lines = self.path(session).read_bytes().splitlines()[: index["sessions"][session]["version"]]
        base = 0 if self.wrong == "counts from 0" else 1
        records = [Record(session, place, decode_event(line)) for place, line in enumerate(lines, base)]
        if self.wrong == "hands out its own list":
            return self.lists.setdefault(session, records)
        return records if self.wrong == "ignores after" else records[after:]

    async def find(self, key: str) -> str | None:
        await trio.lowlevel.checkpoint()
        if self.conflicts and self.wrong == "finds nothing after a conflict":
            return None
        found: str | None = self.files.index()["keys"].get(self.name(key) if self.wrong == "folds keys" else key)
        return found

    async def claim(self) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        with self.files.changing() as index:
            taken = [name for name, kept in index["sessions"].items() if kept["pending"] and self._may_take(kept, name)]
            for name in taken:
                self.mine.add(name)
                if self.wrong not in ("claims again and again", "claims without writing it down"):
                    index["sessions"][name]["working"] = self.files.me
        return taken

    def _may_take(self, kept: dict[str, Any], name: str) -> bool:
        owner = kept["working"]
        if self.wrong == "claims what is its own":
            return True
        if self.wrong == "takes from the living":
            return bool(owner != self.files.me)
        if self.wrong == "frees sessions when closed":
            return bool(owner == "nobody")
        if self.wrong == "claims without writing it down" and name in self.mine:
            return False
        return not self.files.lives(owner)

    async def sessions(
        self, *, owner: str | None = None, limit: int = 100, before: float | None = None
    ) -> Sequence[SessionInfo]:
        await trio.lowlevel.checkpoint()
        index = self.files.index()["sessions"]
        infos = [
            SessionInfo(
                name,
                kept["version"],
                True if self.wrong == "is always pending" else kept["pending"],
                kept["created"],
                kept["updated"],
                kept["owner"],
            )
            for name, kept in index.items()
            if kept["version"] or self.wrong == "still lists what is erased"
        ]
        if before is not None:
            later = self.wrong == "counts before in"
            infos = [info for info in infos if info.updated < before or (later and info.updated == before)]
        if owner is not None:
            alike = self.wrong == "matches owners by their beginning"
            infos = [info for info in infos if info.owner == owner or (alike and info.owner.startswith(owner))]
        infos.sort(key=lambda info: info.id if self.wrong == "lists by name" else -info.updated)
        return infos if self.wrong == "ignores the limit" else infos[:limit]

    async def erase(self, session: str) -> bool:
        await trio.lowlevel.checkpoint()
        if self.wrong == "erases over others":
            stale = self.files.index()
            await trio.lowlevel.checkpoint()
            self._erase(stale, session)
            self.files.write("index.json", stale)
            return True
        with self.files.changing() as index:
            return self._erase(index, session) or self.wrong == "always erased something"

    def _erase(self, index: dict[str, Any], session: str) -> bool:
        kept = index["sessions"].pop(session, None)
        if kept is None:
            return False
        keys = [key for key, held in index["keys"].items() if held == session]
        for key in keys:
            if self.wrong != "keeps keys of what is erased":
                del index["keys"][key]
            if self.wrong != "forgets keys of what is erased":
                index["erased"].append(hashed(key))
        if self.wrong == "marks what is erased":
            self.path(session).rename(self.path(f"erased {session}"))
        elif self.wrong == "keeps the version of what is erased":
            index["sessions"][session] = {**kept, "version": kept["version"]}
        elif self.wrong == "still lists what is erased":
            index["sessions"][session] = {**kept, "version": 0, "pending": False}
        else:
            self.path(session).unlink()
        return True


class FileMemory(Memory):
    """Both facets."""

    def __init__(self, directory: Path, wrong: str = "") -> None:
        self.name, self.wrong = "files", wrong
        self._directory = directory
        self._files = Files(directory, wrong)

    async def open(self) -> None:
        if self.wrong == "opens slowly":
            await trio.sleep(0.6)  # real time: the check looks at a clock
        self._files.open()
        self.journal = FileJournal(self._files, self.wrong)
        self.recall = FileRecall(self._directory, self._files.write, self.wrong)
        if self.wrong == "loses what was pending":
            with self._files.changing() as index:
                index["sessions"] = {name: kept for name, kept in index["sessions"].items() if not kept["pending"]}

    async def close(self) -> None:
        if self.wrong == "forgets keys when closed":
            with self._files.changing() as index:
                index["keys"] = {}
        if self.wrong == "frees sessions when closed":
            with self._files.changing() as index:
                mine = [kept for kept in index["sessions"].values() if kept["working"] == self._files.me]
                for kept in mine:
                    kept["working"] = "nobody"
        if self.wrong == "forgets the last event":
            with self._files.changing() as index:
                for kept in index["sessions"].values():
                    kept["version"] -= 1
        if isinstance(self.recall, FileRecall):
            self.recall.close()
        self._files.close()


@hookimpl
def fairlead_memories(settings: Settings) -> Sequence[Memory]:
    """For a process of its own."""
    return [FileMemory(settings.data_dir, settings.options.get("wrong", ""))]
