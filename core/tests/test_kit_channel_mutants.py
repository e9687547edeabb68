"""Each check of the channel kit finds the channel that breaks its promise, and, as far as can be, no other one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fairlead.testing._applies import DoesNotApply
from fairlead.testing._worker_kit import needs

from .kit_broken import found_by, is_found
from .kit_channel import MemoryChannel, MemoryKit
from .kit_channel_mutants import Mutant
from .kit_mutants_faults import FAULTS, LeavesFilesOpen
from .kit_mutants_in import INBOUND
from .kit_mutants_out import OUTBOUND
from .kit_mutants_text import TEXT

MUTANTS = [*INBOUND, *OUTBOUND, *TEXT, *FAULTS]
CHECKS = {name for name in dir(MemoryKit) if name.startswith("test_")}
OWN = "test_kit_knows_what_it_needs"
"""About the kit, and not about a worker."""
COSTLY = "test_opening_and_closing_leaves_nothing_behind"
"""Collects garbage twice, and is asked about its own mutant alone."""


@pytest.fixture(autouse=True)
def _closed_files() -> Iterator[None]:
    yield
    while LeavesFilesOpen.leaked:
        os.close(LeavesFilesOpen.leaked.pop())


def kit_for(mutant: Mutant) -> MemoryKit:
    class Kit(MemoryKit):
        make = staticmethod(mutant.make)

    return Kit()


def test_each_check_has_its_mutant() -> None:
    """A check that nothing breaks proves nothing."""
    assert CHECKS - {OWN} == {mutant.check for mutant in MUTANTS}


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.check.removeprefix("test_") for mutant in MUTANTS])
async def test_broken_channel_is_found(mutant: Mutant, tmp_path: Path, autojump_clock: object) -> None:
    """Said in words of the contract."""
    await is_found(kit_for(mutant), mutant.check, mutant.words, tmp_path)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.check.removeprefix("test_") for mutant in MUTANTS])
async def test_broken_channel_is_found_by_nothing_else(mutant: Mutant, tmp_path: Path, autojump_clock: object) -> None:
    """So a red check says which promise is broken."""
    seen = set()
    for number, check in enumerate(sorted(CHECKS - {mutant.check, OWN, COSTLY})):
        directory = tmp_path / str(number)
        directory.mkdir()
        with suppress(DoesNotApply):
            if await found_by(kit_for(mutant), check, directory):
                seen.add(check)
    assert frozenset() == seen - mutant.also


async def test_check_that_needs_what_nobody_has_is_found(tmp_path: Path) -> None:
    """A name that is misspelled would let the check pass for ever."""

    class Kit(MemoryKit):
        make = MemoryChannel

        @needs("inbuond")
        async def test_something(self, tmp_path: Path) -> None:
            """Something."""

    await is_found(Kit(), OWN, "is a hook, or is declared by the worker", tmp_path)
