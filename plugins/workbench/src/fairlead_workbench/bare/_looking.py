"""Walking through a directory: everything below it, in order, without following a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from ._places import DIRECTORY, Place, Refusal

__all__ = ["Found", "Limits", "walk"]

MAX_DEPTH = 40
"""Directories below each other; each one on the way is an open descriptor."""
MAX_ENTRIES = 20_000
"""Of one directory."""


@dataclass(frozen=True)
class Found:
    """One entry of a directory."""

    place: Place
    info: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.info.st_mode)

    def target(self) -> str:
        """Where a link leads, as it is written in it."""
        try:
            return os.readlink(self.place.name, dir_fd=self.place.parent)
        except OSError:  # it is none any more
            return "?"


@dataclass
class Limits:
    """What a walk left out, for whoever tells of it."""

    deep: int = 0
    """Directories that were too deep to be entered."""
    unread: int = 0
    """Directories that could not be opened or read."""
    wide: int = 0
    """Directories with more entries than are looked at."""
    left_out: frozenset[str] = frozenset()
    """Names of directories that are not entered."""

    def words(self) -> list[str]:
        """A sentence for each."""
        said = {
            f"deeper than {MAX_DEPTH} levels": self.deep,
            "not permitted or gone": self.unread,
            f"with more than {MAX_ENTRIES:,} entries, of which not all were looked at": self.wide,
        }
        return [f"directories {words}: {count}" for words, count in said.items() if count]


def walk(place: Place, limits: Limits, *, deep: bool = True) -> Iterator[Found]:
    """What lies below a directory, by name, each directory before what is in it; not `deep`: its entries alone.

    A `Found` is good until the next one is asked for. `Refusal`: the place is no directory.
    """
    try:
        fd = os.open(place.name or ".", DIRECTORY, dir_fd=place.parent)
    except NotADirectoryError:
        raise Refusal(f"{place.shown} is no directory", "read_file shows what is in a file") from None
    yield from _walk(fd, place.path, limits, MAX_DEPTH if deep else 0)


def _walk(fd: int, path: str, limits: Limits, depth: int) -> Iterator[Found]:
    """Takes over `fd`."""
    try:
        for name in _names(fd, limits):
            place = Place(fd, name, f"{path}/{name}" if path else name)
            try:
                found = Found(place, os.lstat(name, dir_fd=fd))
            except OSError:  # gone by now
                continue
            yield found
            if depth and found.is_directory and name not in limits.left_out:
                yield from _below(place, limits, depth - 1)
    finally:
        os.close(fd)


def _below(place: Place, limits: Limits, depth: int) -> Iterator[Found]:
    if depth <= 0:
        limits.deep += 1
        return
    try:
        fd = os.open(place.name, DIRECTORY, dir_fd=place.parent)
    except OSError:
        limits.unread += 1
        return
    yield from _walk(fd, place.path, limits, depth)


def _names(fd: int, limits: Limits) -> list[str]:
    names: list[str] = []
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                if len(names) == MAX_ENTRIES:
                    limits.wide += 1
                    break
                names.append(entry.name)
    except OSError:
        limits.unread += 1
    return sorted(names)
