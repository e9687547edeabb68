"""What the two providers hold in the same copy stays the same: no plugin imports another one."""

from __future__ import annotations

from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.mark.parametrize("name", ["_http.py", "_encoded.py"])
def test_copies_are_alike(name: str) -> None:
    """A fault that is mended in one is mended in both."""
    openai, anthropic = (PLUGINS / word / "src" / f"fairlead_{word}" / name for word in ("openai", "anthropic"))
    assert openai.read_text("utf-8") == anthropic.read_text("utf-8"), f"copy the newer {name} over the other"
