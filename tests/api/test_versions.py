"""The range of versions that a plugin declares."""

from __future__ import annotations

import pytest

from fairlead import hookspecs
from fairlead.errors import SchemaError
from fairlead.plugins import serves
from fairlead.wire import check


@pytest.mark.parametrize(
    ("wanted", "served", "refused"),
    [
        ("1.0", ["1.0", "1.1", "1.99"], ["0.9", "2.0"]),
        ("1.2", ["1.2", "1.10"], ["1.0", "1.1", "2.0", "2.2"]),
        (">=1.2", ["1.2", "1.10"], ["1.1", "2.0"]),
        (">=1.0,<1.3", ["1.0", "1.2"], ["0.9", "1.3", "1.4", "2.0"]),
        (">=1.4,<3", ["1.4", "1.10", "2.0", "2.9"], ["1.3", "3.0"]),
        (">=1.4, <3.1", ["1.4", "3.0"], ["1.3", "3.1"]),
    ],
)
def test_range_has_its_versions(
    wanted: str, served: list[str], refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One number is a least version within its major one; an end is given after a comma, and is not in the range."""
    check("plugin-manifest", {"api": wanted})
    found = {}
    for version in (*served, *refused):
        monkeypatch.setattr(hookspecs, "API_VERSION", version)
        found[version] = serves(wanted)
    assert {**dict.fromkeys(served, True), **dict.fromkeys(refused, False)} == found


@pytest.mark.parametrize(
    "wanted", ["", "1", "one", "1.0.0", "~=1.0", "<2", "1.0,2.0", ">=1.0,<", ">=1.0,<1.3,<1.2", "1.0 "]
)
def test_other_forms_are_refused_by_the_schema(wanted: str) -> None:
    """It says what was found and what is expected; whether a core serves them is then no question."""
    with pytest.raises(SchemaError, match="/api"):
        check("plugin-manifest", {"api": wanted})
    assert serves(wanted)
