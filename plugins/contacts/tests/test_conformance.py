"""The contacts keep the promises of a policy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fairlead import Policy, Review, Settings
from fairlead.testing import PolicyConformance
from fairlead_contacts import operations
from fairlead_contacts._policy import Contacts

from .strangers import review

OPTIONS = {"allow": ["kit:ann", "role:guest"], "block": ["kit:mallory"]}
STRANGERS = ("mallory", "eve", "mia", "bob", "zoe")


class TestContacts(PolicyConformance):
    async def make_worker(self, tmp_path: Path) -> Policy:
        return Contacts(Settings("contacts", OPTIONS, tmp_path))

    async def reviews(self) -> Sequence[Review]:
        """The kit's, and people of every kind: exempt, allowed by id and by role, blocked, and a crowd of strangers."""
        people = [review(f"kit:{name}") for name in ("ann", *STRANGERS)]
        return [*await super().reviews(), *people, review(channel="terminal"), review("x:1", roles=("guest",))]

    async def denied(self) -> Sequence[Review]:
        return [*(review(f"kit:{name}") for name in STRANGERS), review("kit:mallory", channel="terminal")]

    async def make_narrower(self, tmp_path: Path) -> Policy:
        narrower = {"mode": "allow", "allow": ["kit:ann"], "block": ["kit:*"], "exempt": []}
        return Contacts(Settings("contacts", narrower, tmp_path))

    async def lesser(self) -> Sequence[tuple[Review, Review]]:
        return [
            (review("kit:ann"), review("kit:anne")),
            (review("x:1", roles=("guest",)), review("x:1")),
            (review("kit:eve", channel="terminal"), review("kit:eve")),
        ]


class TestDamagedFile(PolicyConformance):
    """Also where the file cannot be read."""

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        file = operations.contacts_file(tmp_path)
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
        yield

    async def make_worker(self, tmp_path: Path) -> Policy:
        return Contacts(Settings("contacts", data_dir=tmp_path))
