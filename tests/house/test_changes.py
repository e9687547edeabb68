"""News fragments: one small file in `.changes/` for each change that a user can see."""

from __future__ import annotations

import re

import pytest

from .checkout import ROOT

KINDS = {"added", "changed", "deprecated", "removed", "fixed", "security"}
"""The kinds of https://keepachangelog.com, in its order of sections."""

FRAGMENTS = sorted((ROOT / ".changes").iterdir())


@pytest.mark.parametrize("name", [path.name for path in FRAGMENTS])
def test_fragment_has_a_name_and_a_known_kind(name: str) -> None:
    """``tool-timeouts.added.md``: the release puts it under the heading of its kind."""
    found = re.fullmatch(r"[a-z0-9-]+\.([a-z]+)\.md", name)
    assert found, f"{name!r}: expected NAME.KIND.md with a name of small letters, digits and dashes"
    assert found[1] in KINDS, f"{name!r}: the kinds are {', '.join(sorted(KINDS))}"


@pytest.mark.parametrize("name", [path.name for path in FRAGMENTS])
def test_fragment_says_something(name: str) -> None:
    """It is written for users: a sentence or more, without a heading."""
    text = (ROOT / ".changes" / name).read_text("utf-8").strip()
    assert text.endswith(".")
    assert not text.startswith("#")
