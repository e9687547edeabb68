"""Distributions of others, installed into a directory that stands on the path: real metadata, real modules."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["install", "on_the_path"]


def install(site: Path, name: str, kinds: Mapping[str, str], files: Mapping[str, str], requires: str = "") -> None:
    """As an installer leaves it. `kinds`: the module or object for each kind, under the name of the distribution."""
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    points = "\n".join(f"[fairlead.{kind}]\n{name} = {value}" for kind, value in kinds.items())
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    every = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}",
        f"{info}/entry_points.txt": f"{points}\n",
    }
    every[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in (*every, f"{info}/RECORD"))
    for target, text in every.items():
        (site / target).parent.mkdir(parents=True, exist_ok=True)
        (site / target).write_text(text, "utf-8")


@contextmanager
def on_the_path(site: Path) -> Iterator[None]:
    """For as long as the block lasts; afterwards nothing of it may have been imported."""
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    try:
        yield
        there = [
            name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(f"{site}/")
        ]
        assert [] == there, "the host imported what it must not"
    finally:
        sys.path.remove(str(site))
