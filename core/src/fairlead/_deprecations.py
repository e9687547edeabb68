"""What goes out of the public API: one table, and the warning that the first use of each name gives.

A name that is in the table still works until the major version that it names. To retire one: take it out of its
module and of its ``__all__``, give the module ``__getattr__ = retired(__name__)``, and write a line into the table.
A hook stays where it is until then: ``@hookspec(warn_on_impl=DeprecationWarning(DEPRECATIONS[NAME].say(NAME)))``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from attrs import frozen

__all__ = ["DEPRECATIONS", "Deprecation", "retired"]


@frozen
class Deprecation:
    """What a name's last users are told."""

    since: str
    """The version of the plugin API that deprecated it: ``1.1``."""
    removal: str
    """The version that no longer has it, a later major one: ``2.0``."""
    replacement: str
    """What does the same, with its module: ``fairlead.memory.Note``."""
    link: str
    """A page that shows how to change over."""

    def say(self, name: str) -> str:
        """The warning."""
        ages = f"deprecated since version {self.since} of the plugin API, and gone in {self.removal}"
        return f"{name} is {ages}; use {self.replacement} instead: {self.link}"


DEPRECATIONS: Mapping[str, Deprecation] = {}
"""By full name: ``fairlead.memory.OldNote``. tests/house/test_api.py holds each line to its promises."""


def retired(module: str, table: Mapping[str, Deprecation] = DEPRECATIONS) -> Callable[[str], Any]:
    """The ``__getattr__`` of a public module that has lost names: each still works, and warns the first time."""

    def look_up(name: str) -> Any:
        full = f"{module}.{name}"
        if full not in table:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(table[full].say(full), DeprecationWarning, stacklevel=2)
        home, _, new = table[full].replacement.rpartition(".")
        # From now on the module has it, and nobody is told again.
        found = vars(sys.modules[module])[name] = getattr(import_module(home), new)
        return found

    return look_up
