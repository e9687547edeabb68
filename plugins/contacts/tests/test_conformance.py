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


class TestContacts(PolicyConformance):
    async def make_worker(self, tmp_path: Path) -> Policy:
        return Contacts(Settings("contacts", {"allow": ["kit:ann", "role:guest"], "block": ["kit:mallory"]}, tmp_path))

    async def reviews(self) -> Sequence[Review]:
        """The kit's, and people of every kind: exempt, allowed by id and by role, blocked, and a crowd of strangers."""
        people = [review(f"kit:{name}") for name in ("ann", "mallory", "eve", "mia", "bob", "zoe")]
        return [*await super().reviews(), *people, review(channel="terminal"), review("x:1", roles=("guest",))]


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
