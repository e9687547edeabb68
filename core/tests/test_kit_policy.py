"""The policy kit: a correct policy passes every check, and each check finds the policy that breaks its promise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fairlead.testing._applies import DoesNotApply

from .kit_broken import found_by, is_found
from .kit_mutants_policy import DECISIONS, LeavesFilesOpen
from .kit_mutants_verdicts import VERDICTS
from .kit_policy import HousePolicy, PolicyKit
from .kit_policy_hashes import DrawsFromASet
from .kit_policy_hashes import TestDrawsFromASet as Hashes  # by this name pytest would collect it
from .kit_policy_mutants import PolicyMutant

POLICIES = [*VERDICTS, *DECISIONS]
CHECKS = {name for name in dir(PolicyKit) if name.startswith("test_")}
OWN = "test_kit_knows_what_it_needs"
"""About the kit, and not about a worker."""
COSTLY = "test_opening_and_closing_leaves_nothing_behind"
"""Collects garbage twice, and is asked about its own mutant alone."""
PROCESSES = "test_other_processes_decide_alike"


class TestHouse(PolicyKit):
    """With every hook."""


@pytest.fixture(autouse=True)
def _closed_files() -> Iterator[None]:
    yield
    while LeavesFilesOpen.leaked:
        os.close(LeavesFilesOpen.leaked.pop())


def kit_for(mutant: PolicyMutant) -> PolicyKit:
    class Kit(PolicyKit):
        make = staticmethod(mutant.make)

    return Hashes() if mutant.make is DrawsFromASet else Kit()


def test_each_check_has_its_mutant() -> None:
    """A check that nothing breaks proves nothing."""
    assert CHECKS - {OWN} == {mutant.check for mutant in POLICIES}


HERE = [mutant for mutant in POLICIES if mutant.check != PROCESSES]


@pytest.mark.parametrize("mutant", HERE, ids=[mutant.check.removeprefix("test_") for mutant in HERE])
async def test_broken_policy_is_found(mutant: PolicyMutant, tmp_path: Path, autojump_clock: object) -> None:
    """Said in words of the contract."""
    await is_found(kit_for(mutant), mutant.check, mutant.words, tmp_path)


@pytest.mark.parametrize("mutant", POLICIES, ids=[mutant.check.removeprefix("test_") for mutant in POLICIES])
async def test_broken_policy_is_found_by_nothing_else(
    mutant: PolicyMutant, tmp_path: Path, autojump_clock: object
) -> None:
    """So a red check says which promise is broken."""
    seen = set()
    for number, check in enumerate(sorted(CHECKS - {mutant.check, OWN, COSTLY, PROCESSES})):
        directory = tmp_path / str(number)
        directory.mkdir()
        with suppress(DoesNotApply):
            if await found_by(kit_for(mutant), check, directory):
                seen.add(check)
    assert frozenset() == seen - mutant.also


async def test_policy_that_other_processes_know_otherwise_is_found(tmp_path: Path) -> None:
    """By other processes, which no virtual clock hurries."""
    (mutant,) = [mutant for mutant in POLICIES if mutant.check == PROCESSES]
    await is_found(kit_for(mutant), mutant.check, mutant.words, tmp_path)


async def test_correct_policy_needs_no_hook_more(tmp_path: Path) -> None:
    """Everything applies to it."""
    assert {""} == set((await TestHouse().applies(tmp_path)).values())
    assert TestHouse.make is HousePolicy
