"""Checks that do not apply to a worker: said with the reason, and never passed over in silence."""

from __future__ import annotations

import pytest

__all__ = ["DOES_NOT_APPLY", "DoesNotApply", "applies", "does_not_apply"]

DOES_NOT_APPLY = "does not apply: "
"""How the reason begins; by it the pytest plugin tells such a check from a test that was skipped."""


class DoesNotApply(pytest.skip.Exception):  # type: ignore[misc,name-defined]  # a class that pytest keeps on a function
    """The worker does not declare what this check is about.

    Without the plugin, pytest shows it as skipped, and pytest-trio drops the reason.
    """


def does_not_apply(why: str) -> DoesNotApply:
    """To raise, outside of every nursery, where a check asks for what the worker does not declare."""
    return DoesNotApply(f"{DOES_NOT_APPLY}{why}")


def applies(declared: object, otherwise: str) -> None:
    """Go on only where it is declared."""
    if not declared:
        raise does_not_apply(otherwise)
