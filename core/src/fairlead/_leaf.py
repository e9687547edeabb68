"""What foreign code raises: one exception out of a group, whose fault it is, and what it says."""

from __future__ import annotations

import trio

__all__ = ["leaf", "own_fault", "said"]

_SHOWN = 500
"""Characters of an error's text."""


def leaf(error: BaseException) -> BaseException:
    """The only exception at the bottom of a group (nurseries wrap what passes through them), or the error itself."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def own_fault(error: BaseException) -> BaseException:
    """What a worker raised, where that is its own fault; raises where it is not.

    Not its own: Ctrl-C, and that its caller was cancelled, whatever the worker made of that. All else is, also
    ``SystemExit``, ``GeneratorExit`` and a `trio.Cancelled` that nobody asked for: none of them may end the host.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    error = leaf(error)
    ctrl_c = isinstance(error, KeyboardInterrupt)
    if ctrl_c or (isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt) is not None):
        raise error
    return error


def said(error: BaseException) -> str:
    """Class and text of an error, in one line. To make the text is foreign code too."""
    try:
        text = " ".join(str(error)[:_SHOWN].split())
    except Exception:  # noqa: BLE001  # a class may raise anything there
        text = "(it has no text)"
    return f"{type(error).__name__}: {text}".encode("utf-8", "replace").decode("utf-8")
