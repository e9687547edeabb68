"""One exception out of a group that holds only one: nurseries wrap whatever passes through them."""

from __future__ import annotations

__all__ = ["leaf"]


def leaf(error: Exception) -> Exception:
    """The only exception at the bottom of a group, or the error itself."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
