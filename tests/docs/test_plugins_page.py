"""The directory of plugins lists every room under its kind, with what its manifest says."""

from __future__ import annotations

import json
import re

import pytest
from attrs import frozen

from ..house.checkout import PLUGINS, Room
from .blocks import DOCS

PAGE = DOCS / "plugins.md"
TIERS = ("bronze", "silver", "gold", "platinum")
ROW = re.compile(r"\| \[`([\w-]+)`\]\(\.\./plugins/([\w-]+)/README\.md\) \| (.+) \| (\w+) \| (\w+) \| (\w+) \|")


@frozen
class Line:
    """A row of a table, and the heading above it."""

    kind: str
    plugin: str
    room: str
    floor: str
    stage: str
    tier: str


def listed() -> list[Line]:
    found, kind = [], ""
    for text in PAGE.read_text("utf-8").splitlines():
        kind = text.removeprefix("## ").lower() if text.startswith("## ") else kind
        if row := ROW.fullmatch(text):
            plugin, room, _, floor, stage, tier = row.groups()
            found.append(Line(kind, plugin, room, floor, stage, tier))
    return found


def points(room: Room) -> list[tuple[str, str]]:
    """Kind and name of each of its plugins."""
    groups = room.project["project"]["entry-points"]
    return [(group.removeprefix("fairlead."), name) for group, names in groups.items() for name in names]


def test_every_room_is_listed_under_its_kind() -> None:
    """Each once, and nothing else."""
    expected = sorted((kind, name, room.path.name) for room in PLUGINS for kind, name in points(room))
    assert expected == sorted((line.kind, line.plugin, line.room) for line in listed())


@pytest.mark.parametrize("line", listed(), ids=lambda line: line.plugin)
def test_line_says_what_the_manifest_says(line: Line) -> None:
    """Where it agrees to run, and how far its authors stand behind it; the tier can be true."""
    (room,) = (room for room in PLUGINS if room.path.name == line.room)
    manifest = json.loads((room.source / "fairlead-plugin.json").read_text("utf-8"))
    assert (manifest["isolation"], manifest["stage"]) == (line.floor, line.stage)
    assert line.tier in TIERS
    best = "silver" if line.stage != "stable" else "gold" if room.project["project"]["version"] < "1" else "platinum"
    assert TIERS.index(line.tier) <= TIERS.index(best), f"the rules allow at most {best}"
