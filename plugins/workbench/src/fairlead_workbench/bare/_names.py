"""How the names of files are shown, and how patterns match them."""

from __future__ import annotations

from fnmatch import fnmatchcase

__all__ = ["matches", "show"]


def show(name: str) -> str:
    """A name in one line: what has a control character, a line end or a byte that is no UTF-8 is quoted and escaped."""
    return name if name.isprintable() else repr(name)


def matches(path: str, pattern: str) -> bool:
    """Whether a path fits: ``*.py`` by the name alone, ``src/**/*.py`` from the top, ``**`` for any directories.

    Part by part, so that no pattern takes longer than its parts times those of the path: it comes from a model.
    """
    if "/" not in pattern:
        return fnmatchcase(path.rpartition("/")[2], pattern)
    names = path.split("/")
    fits = [True] + [False] * len(names)  # the parts of the pattern so far fit the first so many names
    for part in pattern.strip("/").split("/"):
        if part == "**":
            first = fits.index(True) if True in fits else len(fits)
            fits = [at >= first for at in range(len(fits))]
        else:
            fits = [False, *(fits[at] and fnmatchcase(name, part) for at, name in enumerate(names))]
    return fits[-1]
