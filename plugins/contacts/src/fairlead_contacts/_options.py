"""What the table ``[policies.contacts]`` says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from attrs import frozen

from fairlead import Principal, Settings

__all__ = ["Mode", "Options", "People", "read_options"]

Mode = Literal["pairing", "allow", "open"]

ROLE = "role:"


@frozen
class People:
    """A list of people: ids, ids with ``*`` for any run of characters, and ``role:NAME``."""

    ids: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    patterns: tuple[re.Pattern[str], ...] = ()

    def __contains__(self, person: Principal) -> bool:
        return (
            person.id in self.ids
            or not self.roles.isdisjoint(person.roles)
            or any(pattern.fullmatch(person.id) for pattern in self.patterns)
        )


@frozen
class Options:
    """The options with their defaults."""

    mode: Mode = "pairing"
    channels: Mapping[str, Mode] = {}  # read only; attrs shares the one default
    """Other modes, by the channel's name in the configuration."""
    exempt: frozenset[str] = frozenset({"terminal", "webhook"})
    """Channels, by name, whose messages are authenticated otherwise."""
    allow: People = People()
    block: People = People()

    def mode_of(self, channel: str) -> Mode:
        return "open" if channel in self.exempt else self.channels.get(channel, self.mode)


def read_options(settings: Settings) -> Options:
    """The options of a table, which its schema has checked."""
    given: dict[str, Any] = dict(settings.options)
    allow, block = (read_people(given.pop(name, ())) for name in ("allow", "block"))
    exempt = frozenset(given.pop("exempt", Options().exempt))
    return Options(exempt=exempt, allow=allow, block=block, **given)


def read_people(entries: Iterable[str]) -> People:
    """A list as it is written in the configuration."""
    ids, roles, patterns = set(), set(), []
    for entry in entries:
        if entry.startswith(ROLE):
            roles.add(entry.removeprefix(ROLE))
        elif "*" in entry:
            patterns.append(re.compile(".*".join(map(re.escape, re.split(r"\*+", entry))), re.DOTALL))
        else:
            ids.add(entry)
    return People(frozenset(ids), frozenset(roles), tuple(patterns))
