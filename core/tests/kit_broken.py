"""Whether a check finds a broken worker: said in words of the contract, and where it is documented."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fairlead.testing._worker_kit import WorkerConformance

__all__ = ["checks_of", "found_by", "is_found", "unproven"]


def checks_of(kit: type[Any]) -> list[str]:
    """The checks that a kit has beside those of every worker, in order."""
    return sorted(name for name in dir(kit) if name.startswith("test_") and not hasattr(WorkerConformance, name))


async def found_by(kit: Any, check: str, tmp_path: Path) -> list[str]:
    """What a check says; nothing where it found no fault. A worker that the check stumbles over is found as well."""
    said: list[str] = []
    try:
        await getattr(kit, check)(tmp_path)
    except Exception as error:  # noqa: BLE001  # a broken worker may raise anything
        said += [str(each) for each in _leaves(error)]
    return said


async def is_found(kit: Any, check: str, words: str, tmp_path: Path) -> None:
    """Fail unless the check finds it, and says so."""
    said = await found_by(kit, check, tmp_path)
    assert any(words in each for each in said), f"{check} does not find it; it says {said}"
    broken = [each for each in said if each.startswith("broken promise: ")]
    assert all("documented in: fairlead" in each and "seen: " in each for each in broken)


def unproven(kit: type[Any], mutants: Mapping[str, tuple[str, str]]) -> list[str]:
    """The checks that no mutant stands for."""
    proven = {check for check, _ in mutants.values()}
    return [check for check in checks_of(kit) if check not in proven]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
