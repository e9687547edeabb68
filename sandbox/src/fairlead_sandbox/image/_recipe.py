"""What an image is made from, as a value: the same recipe makes the same image, and its hash tells them apart."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from attrs import asdict, field, frozen

__all__ = ["PACKAGES", "DebianRecipe", "Recipe", "RegistryRecipe"]

EDITION = 1
"""Raised when this package makes images in another way."""
PACKAGES = ("ca-certificates", "python3", "ripgrep")
"""Beside Debian's essential ones: bash, dash, coreutils, grep, sed, findutils, tar, gzip, diffutils."""
PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+")
"""Debian Policy 5.6.1."""
REFERENCE = re.compile(
    r"[a-z0-9][a-z0-9._-]*(:[0-9]+(?=/))?(/[a-z0-9._-]+)*(:[a-z0-9_][a-z0-9._-]*)?(@sha256:[0-9a-f]{64})?",
    re.IGNORECASE,
)
"""Registry, name, tag and digest, each but the name left out where it is the usual one."""


class Recipe:
    """The base of both."""

    kind = ""

    def digest(self) -> str:
        """16 digits that change with whatever goes into the image."""
        text = json.dumps([EDITION, self.kind, self._parts()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _parts(self) -> dict[str, object]:
        raise NotImplementedError


def _sorted(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if not PACKAGE.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a Debian package")
    return tuple(sorted({*PACKAGES, *names}))


@frozen
class DebianRecipe(Recipe):
    """A file system of Debian's (or Ubuntu's) packages, for machines without a registry."""

    kind = "debian"
    suite: str = ""
    """The release, ``bookworm``; empty for the machine's own."""
    packages: tuple[str, ...] = field(default=(), converter=_sorted)
    """The names of more packages, such as ``git``."""

    def _parts(self) -> dict[str, object]:
        return dict(asdict(self))


@frozen
class RegistryRecipe(Recipe):
    """An image of a registry that has Python, such as ``python:3.12-slim``."""

    kind = "registry"
    reference: str = field()

    @reference.validator
    def _check(self, _: object, value: str) -> None:
        if not REFERENCE.fullmatch(value):
            raise ValueError(f"{value!r} is no reference of an image")

    def _parts(self) -> dict[str, object]:
        return dict(asdict(self))
