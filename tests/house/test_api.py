"""The public API changes only where somebody says so."""

from __future__ import annotations

import difflib
import importlib

import pytest

from .api_snapshot import SNAPSHOT, public_modules, render_api

WRITE = "uv run python tests/house/api_snapshot.py --write"


def test_public_api_is_the_declared_one() -> None:
    """Removing or changing a public name fails until the change is declared, with a news fragment."""
    declared, found = SNAPSHOT.read_text("utf-8"), render_api()
    if declared == found:
        return
    lines = difflib.unified_diff(declared.splitlines(), found.splitlines(), "declared", "found", lineterm="", n=1)
    advice = (
        f"If this is meant: `{WRITE}`, and a fragment in .changes/ that tells users. Removing needs a major version."
    )
    pytest.fail("\n".join(["the public API differs from tests/house/api.txt", *lines, "", advice]), pytrace=False)


@pytest.mark.parametrize("name", public_modules())
def test_public_module_lists_its_names(name: str) -> None:
    """Each public module says with `__all__` what it offers, and offers what it says."""
    module = importlib.import_module(name)
    assert [] == [public for public in module.__all__ if not hasattr(module, public)]
    assert len(set(module.__all__)) == len(module.__all__)
