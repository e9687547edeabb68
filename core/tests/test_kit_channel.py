"""The channel kit: a correct channel passes every check."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from fairlead import Channel

from .kit_channel import EVERYTHING, MemoryChannel, MemoryKit
from .kit_platform import Platform

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


@pytest.mark.parametrize("check", CHECKS)
async def test_channel_without_keys_keeps_all_promises(check: str, tmp_path: Path, autojump_clock: object) -> None:
    """On a clock that jumps: no check waits for what does not come."""
    await getattr(WithoutKeys(), check)(tmp_path)


async def test_kit_says_what_it_cannot_prove(tmp_path: Path) -> None:
    """By the names of checks, with the hooks and capabilities that are missing."""
    assert {"": len(CHECKS)} == {what: CHECKS.__len__() for what in set((await kit_of(TestMemory, tmp_path)).values())}
    missing = {name: what for name, what in (await kit_of(WithoutKeys, tmp_path)).items() if what}
    assert {
        "test_same_send_again_has_no_second_effect": "idempotency",
        "test_same_send_after_a_restart_has_no_second_effect": "idempotency",
    } == missing


async def kit_of(kit: type[MemoryKit], tmp_path: Path) -> dict[str, str]:
    return await kit().applies(tmp_path)
