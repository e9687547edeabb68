"""Any sequence of operations does what it does to a dictionary."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import trio
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.errors import DuplicateKey, VersionConflict

from .opened import OpenMemory, opened, said, texts

SESSIONS = ("a", "b", "c")
Operation = tuple[str, str, int, tuple[tuple[str, str], ...], bool]
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(("append",) * 6 + ("cancelled", "erase", "reopen", "claim")),
        st.sampled_from(SESSIONS),
        st.sampled_from((0, 0, 0, 0, 1, -1)),
        st.lists(st.tuples(st.text(max_size=20), st.sampled_from(("", "", "", "k1", "k2", "k3"))), max_size=3).map(
            tuple
        ),
        st.booleans(),
    ),
    max_size=20,
)


@define
class Model:
    """The journal as a dictionary."""

    sessions: dict[str, list[str]] = field(factory=dict)
    pending: set[str] = field(factory=set)
    keys: dict[str, str | None] = field(factory=dict)
    owned: set[str] = field(factory=set)
    """What this opening of the journal works at."""

    def append(self, session: str, expected: int, said: tuple[tuple[str, str], ...], *, pending: bool) -> object:
        kept = self.sessions.get(session, [])
        keys = [key for _, key in said if key]
        if expected != len(kept):
            return VersionConflict
        if len(keys) != len(set(keys)) or not self.keys.keys().isdisjoint(keys):
            return DuplicateKey
        if said or session in self.sessions:
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


async def append(memory: OpenMemory, model: Model, operation: Operation) -> None:
    kind, session, offset, words, pending = operation
    expected = max(len(model.sessions.get(session, ())) + offset, 0)
    events = [said(text, key) for text, key in words]
    outcome: object = None
    with trio.CancelScope() as scope:
        if kind == "cancelled":
            scope.cancel()
        try:
            outcome = await memory.journal.append(session, expected, events, pending=pending)
        except (VersionConflict, DuplicateKey) as refusal:
            outcome = type(refusal)
    if not scope.cancelled_caught:
        assert model.append(session, expected, words, pending=pending) == outcome


async def play(operations: list[Operation], directory: Path) -> None:
    model = Model()
    async with AsyncExitStack() as stack:
        memory = await stack.enter_async_context(opened(directory))
        for operation in operations:
            kind, session = operation[:2]
            if kind in {"append", "cancelled"}:
                await append(memory, model, operation)
            elif kind == "erase":
                assert model.erase(session) == await memory.journal.erase(session)
            elif kind == "claim":
                assert model.claim() == sorted(await memory.journal.claim())
            else:
                await stack.aclose()
                memory = await stack.enter_async_context(opened(directory))
                model.owned.clear()
        await compare(memory, model)


async def compare(memory: OpenMemory, model: Model) -> None:
    for session in SESSIONS:
        assert model.sessions.get(session, []) == await texts(memory.journal, session)
    for key in ("k1", "k2", "k3"):
        assert model.keys.get(key) == await memory.journal.find(key)
    found = {info.id: (info.version, info.pending) for info in await memory.journal.sessions()}
    assert {name: (len(kept), name in model.pending) for name, kept in model.sessions.items()} == found


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OPERATIONS)
def test_journal_behaves_as_a_dictionary(operations: list[Operation]) -> None:
    """Appends, refusals, cancellations, erasures, claims and restarts in any order."""
    with tempfile.TemporaryDirectory() as directory:
        trio.run(play, operations, Path(directory))
