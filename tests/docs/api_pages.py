"""The pages on the plugin API's versions and on quality tiers, made from the tables that the programs go by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlead._deprecations import DEPRECATIONS
from fairlead.hookspecs import API_VERSION
from fairlead_cli._check_rules import RULES, TIERS

from ..house.api_changes import DECLARED
from ..house.api_rules import changes, parse_snapshot
from ..house.api_snapshot import RELEASED, SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["tiers_page", "versions_page"]


TIERS_TEXT = """# Quality tiers

`fairlead check PATH|WHEEL` looks at a plugin and says which tier it has: the highest one all of whose rules it
keeps, with all rules of the tiers below. It names what is missing for the next one, and ends with 1 below
`--tier`, or below the tier that the plugin's own manifest claims (`tier`).

The metadata, the manifest and the form of the code are read from the wheel; nothing is run for that, and with
`--static` nothing else is done. Then the plugin is imported and its tests are run, in processes of their own,
without the variables of your environment, with your rights. A tier says how carefully a plugin is made. It is
no proof of good will: who wrote the plugin wrote its tests. What a plugin may do is decided where it runs.
"""
VERSIONS_TEXT = f"""# Versions of the plugin API

The plugin API has a version of its own, apart from the version of any package: now **{API_VERSION}**. It covers
the public modules of the core (names, signatures, fields of data and of errors), the arguments of hooks, the
hooks of the conformance kits, and the schemas.

A plugin names in its `fairlead-plugin.json` the versions that it works with. Whether the core offers one of
them is seen before anything of the plugin is imported; where not, it is refused, with both versions named.

| `api` | means |
| --- | --- |
| `1.0` | 1.0 or a later 1.x |
| `>=1.2` | 1.2 or a later 1.x |
| `>=1.0,<1.3` | 1.0, 1.1 or 1.2 |
| `>=1.4,<3` | 1.4 or a later 1.x, and every 2.x |

A minor version only adds. What goes out of the API is deprecated first: it works until the next major version,
and its first use gives a `DeprecationWarning` with the version that removes it, what replaces it, and a link.
Plugins that were built for 1.0 are kept as wheels, and must load and run a turn in every build of every later 1.x.
How good a plugin is beside that, its [quality tier](quality-tiers.md) says.

## Deprecated now
"""


def tiers_page() -> Iterator[str]:
    """`quality-tiers.md`."""
    yield TIERS_TEXT
    for tier in TIERS:
        yield from ("", f"## {tier.capitalize()}", "", "| rule | what it asks for |", "| --- | --- |")
        yield from (f"| `{rule.name}` | {rule.promise} |" for rule in RULES if rule.tier == tier)


def versions_page() -> Iterator[str]:
    """`plugin-api.md`."""
    yield VERSIONS_TEXT
    if DEPRECATIONS:
        yield from ("| name | since | gone in | instead |", "| --- | --- | --- | --- |")
    for name, old in DEPRECATIONS.items():
        yield f"| `{name}` | {old.since} | {old.removal} | `{old.replacement}` ([how]({old.link})) |"
    yield from () if DEPRECATIONS else ("Nothing.",)
    yield from _news()


def _news() -> Iterator[str]:
    """What each version has added to the one before; members of what is new itself are left out."""
    versions = sorted(
        (path.stem for path in RELEASED.glob("*.txt")), key=lambda one: [int(part) for part in one.split(".")]
    )
    texts = {version: (RELEASED / f"{version}.txt").read_text("utf-8") for version in versions}
    texts.setdefault(API_VERSION, SNAPSHOT.read_text("utf-8"))
    pairs = list(zip(list(texts)[:-1], list(texts)[1:], strict=True))
    for before, after in reversed(pairs):
        found = [change.name for change in changes(parse_snapshot(texts[before]), parse_snapshot(texts[after]))]
        names = [name for name in found if not any(name.startswith((f"{other}.", f"{other} ")) for other in found)]
        yield from ("", f"## New in {after}", "")
        for name in names:
            why = DECLARED.get(after, {}).get(name, "")
            yield f"- `{name}`{f': {why}' if why else ''}"
