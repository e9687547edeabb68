"""Any sequence of operations does to a memory what it does to a dictionary."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

import trio
from attrs import define, field, frozen
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fairlead._contracts import Recall
from fairlead._events import Event, MessageAccepted
from fairlead._message import Message, Text
from fairlead._work import Note
from fairlead.errors import DuplicateKey, VersionConflict
from fairlead.testing._memory_base import ADD, APPEND, CLAIM, ERASE, FIND, FORGET, READ, SEARCH, SESSIONS
from fairlead.testing._worker_kit import promise, same

__all__ = ["Driver", "JournalModel", "Journals", "play_journal", "play_recall", "try_all"]

KEYS = ("", "", "", "k1", "k2", "k3")
"""Most messages have none."""
NOTES, SCOPES = ("n1", "n2", "n3"), ("x", "y")


@frozen
class Operation:
    """One step. What it does not need it does not read."""

    kind: str
    session: str
    offset: int
    """How far the expected version is from the right one."""
    said: tuple[tuple[str, str], ...]
    """Text and key of each message."""
    pending: bool


def operations(*more: str) -> st.SearchStrategy[list[Operation]]:
    """Of a journal; `more`: kinds beside the usual ones."""
    return st.lists(
        st.builds(
            Operation,
            kind=st.sampled_from(("append",) * 5 + ("cancelled", "erase", "reopen", "claim", "fork", "read", *more)),
            session=st.sampled_from(("a", "b", "c")),
            offset=st.sampled_from((0, 0, 0, 0, 1, -1)),
            said=st.lists(st.tuples(st.text(max_size=10), st.sampled_from(KEYS)), min_size=1, max_size=3).map(tuple),
            pending=st.booleans(),
        ),
        max_size=15,
    )


RECALLED = st.lists(
    st.tuples(
        st.sampled_from(("add",) * 4 + ("erase", "erase scope", "reopen", "search")),
        st.sampled_from(SCOPES),
        st.sampled_from(NOTES),
        st.sampled_from(("green tea", "black coffee", "green trees", "", "tea? \U0001f375 NOT")),
    ),
    max_size=15,
)


class Journals(Protocol):
    """What the model needs of a journal, here or in another process."""

    async def append(self, session: str, expected_version: int, events: Sequence[Event], *, pending: bool) -> int: ...
    async def read(self, session: str, after: int = 0) -> Sequence[Any]: ...
    async def find(self, key: str) -> str | None: ...
    async def claim(self) -> Sequence[str]: ...
    async def sessions(self) -> Sequence[Any]: ...
    async def erase(self, session: str) -> bool: ...


class Driver(ABC):
    """Opens the memory, closes it, and, where it can, kills it."""

    @abstractmethod
    async def start(self, stack: AsyncExitStack) -> Journals:
        """Open it; the stack closes it."""

    async def crash(self) -> None:
        """Kill its process."""
        raise NotImplementedError


@define
class JournalModel:
    """The journal as a dictionary."""

    sessions: dict[str, list[str]] = field(factory=dict)
    pending: set[str] = field(factory=set)
    keys: dict[str, str | None] = field(factory=dict)
    """To its session; None where that was erased."""
    owned: set[str] = field(factory=set)
    """What this opening of the journal works at."""

    def append(self, session: str, expected: int, said: Sequence[tuple[str, str]], *, pending: bool) -> object:
        kept = self.sessions.get(session, [])
        keys = [key for _, key in said if key]
        if expected != len(kept):
            return VersionConflict
        if len(keys) != len(set(keys)) or not self.keys.keys().isdisjoint(keys):
            return DuplicateKey
        self.sessions[session] = [*kept, *(text for text, _ in said)]
        self.keys.update(dict.fromkeys(keys, session))
        for group in (self.pending, self.owned):
            group.add(session) if pending else group.discard(session)
        return expected + len(said)

    def erase(self, session: str) -> bool:
        self.pending.discard(session)
        self.owned.discard(session)
        self.keys = {key: None if of == session else of for key, of in self.keys.items()}
        return self.sessions.pop(session, None) is not None

    def claim(self) -> list[str]:
        claimed = sorted(self.pending - self.owned)
        self.owned |= self.pending
        return claimed

    def forget(self, *, durable: bool) -> None:
        """It is closed, or killed."""
        self.owned.clear()
        if not durable:
            self.sessions, self.pending, self.keys = {}, set(), {}


def said(text: str, key: str) -> MessageAccepted:
    message = Message("user", (Text(text),), id=f"m-{text}-{key}")
    return MessageAccepted(message=message, key=key, external_id=key)


@define
class _Play:
    """One sequence against one journal. Names get the number of the play: the far side may be shared."""

    prefix: str
    driver: Driver
    durable: bool
    model: JournalModel = field(factory=JournalModel)

    def named(self, name: str) -> str:
        return f"{self.prefix}{name}" if name else ""

    async def run(self, steps: Sequence[Operation]) -> None:
        async with AsyncExitStack() as stack:
            journal = await self.driver.start(stack)
            for step in steps:
                if step.kind in ("reopen", "crash"):
                    if step.kind == "crash":
                        await self.driver.crash()
                    await stack.aclose()
                    self.model.forget(durable=self.durable)
                    journal = await self.driver.start(stack)
                else:
                    await self.step(journal, step)
            await self.compare(journal)

    async def step(self, journal: Journals, step: Operation) -> None:
        model, session = self.model, self.named(step.session)
        if step.kind == "erase":
            same(model.erase(session), await journal.erase(session), "erase says whether there was one", ERASE)
        elif step.kind == "claim":
            mine = sorted(name for name in await journal.claim() if name.startswith(self.prefix))
            same(model.claim(), mine, "what nobody living owns is taken over", CLAIM)
        elif step.kind == "read":
            await self.compare(journal)
        elif step.kind == "fork":
            words = [(text, "") for text in model.sessions.get(session, [])]
            name = self.named(f"fork of {step.session}")
            if words:  # an append of nothing is promised nothing
                await self.append(journal, name, len(model.sessions.get(name, [])), words, pending=False)
        else:
            expected = max(len(model.sessions.get(session, ())) + step.offset, 0)
            words = [(text, self.named(key)) for text, key in step.said]
            await self.append(
                journal, session, expected, words, pending=step.pending, cancelled=step.kind == "cancelled"
            )

    async def append(
        self,
        journal: Journals,
        session: str,
        expected: int,
        words: Sequence[tuple[str, str]],
        *,
        pending: bool,
        cancelled: bool = False,
    ) -> None:
        outcome: object = None
        with trio.CancelScope() as scope:
            if cancelled:
                scope.cancel()
            try:
                outcome = await journal.append(session, expected, [said(*each) for each in words], pending=pending)
            except (VersionConflict, DuplicateKey) as refusal:
                outcome = type(refusal)
        if not scope.cancelled_caught or await self.was_written(journal, session, expected, words):
            wanted = self.model.append(session, expected, words, pending=pending)
            if not scope.cancelled_caught:
                same(wanted, outcome, "an append gives the version, or is refused", APPEND)

    async def was_written(
        self, journal: Journals, session: str, expected: int, words: Sequence[tuple[str, str]]
    ) -> bool:
        """Whether an append that was cancelled is there; half of it must not be."""
        count = len(await journal.read(session)) - len(self.model.sessions.get(session, []))
        promise(count in (0, len(words)), "a cancelled append is whole or nothing", APPEND, (expected, count))
        return count > 0

    async def compare(self, journal: Journals) -> None:
        for name in ("a", "b", "c", "fork of a", "fork of b", "fork of c"):
            texts = [record.event.message.text for record in await journal.read(self.named(name))]
            same(self.model.sessions.get(self.named(name), []), texts, "a session is what was appended", READ)
        for key in ("k1", "k2", "k3"):
            found = await journal.find(self.named(key))
            held = self.model.keys.get(self.named(key))
            if held is not None or self.named(key) not in self.model.keys:
                same(held, found, "find gives the key's session", FIND)
        infos = [info for info in await journal.sessions() if info.id.startswith(self.prefix)]
        listed = {info.id: (info.version, info.pending) for info in infos}
        wanted = {name: (len(kept), name in self.model.pending) for name, kept in self.model.sessions.items()}
        same(wanted, listed, "sessions are listed with version and pending", SESSIONS)


_numbers = itertools.count(1)


async def play_journal(steps: Sequence[Operation], driver: Driver, *, durable: bool) -> None:
    """One sequence of operations; every answer is that of the dictionary."""
    await _Play(f"p{next(_numbers)}-", driver, durable).run(steps)


async def play_recall(
    steps: Sequence[tuple[str, str, str, str]],
    start: Callable[[AsyncExitStack], Awaitable[Recall]],
    *,
    lasting: bool,
) -> None:
    """The same for a recall."""
    prefix = f"p{next(_numbers)}-"
    model: dict[tuple[str, str], Note] = {}
    async with AsyncExitStack() as stack:
        recall = await start(stack)
        for place, (kind, scope, name, text) in enumerate(steps):
            scope = prefix + scope  # noqa: PLW2901  # the same scope, by its whole name
            if kind == "add":
                note = Note(text, scope, name, float(place))
                model[scope, name] = note
                same(text, (await recall.add(note)).text, "add gives the note as it is kept", ADD)
            elif kind == "erase":
                known = int(model.pop((scope, name), None) is not None)
                same(known, await recall.erase(scope, name), "erase gives the number removed", FORGET)
            elif kind == "erase scope":
                mine = [key for key in model if key[0] == scope]
                same(len([model.pop(key) for key in mine]), await recall.erase(scope), "erase counts", FORGET)
            elif kind == "reopen":
                await stack.aclose()
                model = model if lasting else {}
                recall = await start(stack)
            else:
                ids = {note.id for note in await recall.search(scope, text, 50)}
                promise(ids <= {key[1] for key in model if key[0] == scope}, "only what is there is found", SEARCH, ids)
        for scope in (prefix + each for each in SCOPES):
            expected = sorted((note for key, note in model.items() if key[0] == scope), key=lambda note: -note.at)
            found = [(note.id, note.text) for note in await recall.search(scope, "", 50)]
            same([(note.id, note.text) for note in expected], found, "an empty query gives the newest", SEARCH)


async def try_all(
    strategy: st.SearchStrategy[Any], play: Callable[[Any], Awaitable[None]], examples: int, seconds: float
) -> None:
    """Play random sequences here, at most so many and so long, and the shortest that fails last.

    Hypothesis is no friend of event loops: it runs in a thread, and each sequence comes back into this one.
    """
    until = trio.current_time() + seconds
    failed: dict[str, BaseException] = {}

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(steps: Any) -> None:
        nonlocal until
        if (known := failed.get(repr(steps))) is not None:
            raise known.with_traceback(None)
        if trio.from_thread.run_sync(trio.current_time) > until:
            return
        try:
            trio.from_thread.run(play, steps)
        except BaseException as error:  # noqa: BLE001  # it is raised again, out of its group
            leaf = error
            while isinstance(leaf, BaseExceptionGroup):  # of a nursery, which hypothesis cannot tell from others
                leaf = leaf.exceptions[0]
            if not failed:
                until = trio.from_thread.run_sync(trio.current_time) + seconds
            failed[repr(steps)] = leaf
            raise leaf from None

    await trio.to_thread.run_sync(run)
