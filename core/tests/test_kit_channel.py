"""The channel kit: a correct channel passes every check."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from fairlead import Channel
from fairlead.testing._applies import DoesNotApply

from .kit_channel import EVERYTHING, MemoryChannel, MemoryKit
from .kit_platform import Platform

KEYS = {
    "test_same_send_again_has_no_second_effect": "idempotency",
    "test_same_send_after_a_restart_has_no_second_effect": "idempotency",
}
CHECKS = sorted(name for name in dir(MemoryKit) if name.startswith("test_"))


class TestMemory(MemoryKit):
    """With an idempotency key, and every capability and hook; on a real clock."""

    make = MemoryChannel


class WithoutKeys(MemoryKit):
    """A platform that shows twice what is sent twice."""

    idempotent = False

    @staticmethod
    def make(platform: Platform, directory: Path) -> Channel:
        return MemoryChannel(platform, directory, evolve(EVERYTHING, idempotency=False))


async def test_kit_says_what_it_cannot_prove(tmp_path: Path) -> None:
    """By the names of checks, with the hooks and capabilities that are missing."""
    assert {""} == set((await TestMemory().applies(tmp_path)).values())
    assert KEYS == {name: what for name, what in (await WithoutKeys().applies(tmp_path)).items() if what}


async def test_check_that_does_not_apply_says_why(tmp_path: Path) -> None:
    """In words."""
    with pytest.raises(DoesNotApply, match="does not apply: idempotency is not declared"):
        await WithoutKeys().test_same_send_again_has_no_second_effect(tmp_path)


@pytest.mark.parametrize("check", [check for check in CHECKS if check not in KEYS])
async def test_channel_without_keys_keeps_all_promises(check: str, tmp_path: Path, autojump_clock: object) -> None:
    """On a clock that jumps: no check waits for what does not come."""
    await getattr(WithoutKeys(), check)(tmp_path)
