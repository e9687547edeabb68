"""The reference is what the code says of itself, and complete."""

from __future__ import annotations

import difflib
import inspect

import pytest

from fairlead import errors, events, hookspecs

from .blocks import DOCS
from .reference import render_pages
from .used_hooks import implementers

REFERENCE = DOCS / "reference"
WRITE = "uv run python -m tests.docs.generate --write"


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    return render_pages()


def test_pages_are_those_of_the_code(rendered: dict[str, str]) -> None:
    """A change of the code is a change of the reference."""
    for name, text in rendered.items():
        kept = (REFERENCE / name).read_text("utf-8") if (REFERENCE / name).is_file() else ""
        lines = difflib.unified_diff(kept.splitlines(), text.splitlines(), "kept", "made", lineterm="", n=1)
        assert kept == text, "\n".join([f"docs/reference/{name} is not up to date; type: {WRITE}", *lines])
    assert sorted(rendered) == sorted(path.name for path in REFERENCE.iterdir())


def test_every_error_event_and_hook_has_its_heading(rendered: dict[str, str]) -> None:
    """Nothing that users can meet is left out."""
    hooks = [name for name in hookspecs.__all__ if name.startswith("fairlead_")]
    for page, names in (("errors.md", errors.__all__), ("events.md", events.__all__), ("hooks.md", hooks)):
        headings = {line.removeprefix("## ") for line in rendered[page].splitlines() if line.startswith("## ")}
        assert set(names) <= headings


def test_every_field_of_an_event_is_listed(rendered: dict[str, str]) -> None:
    """With its type."""
    ours = [cls for cls in events.Event.__subclasses__() if cls.__module__.startswith("fairlead.")]
    for cls in ours:
        _, _, entry = rendered["events.md"].partition(f"## {cls.__name__}\n")
        entry = entry.partition("\n## ")[0]
        assert [] == [name for name in inspect.get_annotations(cls) if name != "kind" and f"- `{name}: " not in entry]


def test_every_hook_is_implemented_by_a_plugin_of_ours() -> None:
    """What we do not use ourselves we do not know to work."""
    hooks = {name for name in hookspecs.__all__ if name.startswith("fairlead_")}
    assert hooks == set(implementers())
