"""The wheels of `data/`: what they are, and unpacked on the path, as an installer leaves them."""

from __future__ import annotations

import importlib
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["DATA", "GOLDEN", "GOLDEN_ASYNCIO", "HERE", "code_in", "unpacked"]

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
GOLDEN = DATA / "fairlead_golden-1.0-py3-none-any.whl"
GOLDEN_ASYNCIO = DATA / "fairlead_golden_asyncio-1.0-py3-none-any.whl"


def code_in(wheel: Path) -> dict[str, bytes]:
    """The files of its package."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


@contextmanager
def unpacked(wheel: Path, site: Path) -> Iterator[list[str]]:
    """The wheel on the path for as long as the block lasts; gives its modules, as they are imported."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    top = next(name.partition("/")[0] for name in code_in(wheel))
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    imported: list[str] = []
    try:
        yield imported
    finally:
        sys.path.remove(str(site))
        for name in [name for name in sys.modules if name.partition(".")[0] == top]:
            imported.append(name)
            del sys.modules[name]
