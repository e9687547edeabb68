"""What a person or a script is told when a command fails."""

from __future__ import annotations

import shlex
import traceback
from typing import TYPE_CHECKING

from fairlead.errors import (
    ConfigError,
    FairleadError,
    IsolationUnavailable,
    PluginError,
    SchemaError,
    SessionNotFound,
)
from fairlead_cli._screen import Screen
from fairlead_cli._text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["INTERRUPTED", "Refused", "report"]

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""
_USAGE = (ConfigError, IsolationUnavailable, PluginError, SchemaError, SessionNotFound)
"""Errors that whoever typed the command or wrote the configuration can mend: exit code 2."""


class Refused(FairleadError):
    """The command was understood and is wrong here: exit code 2, as for every other fault of usage."""


def report(error: Exception, arguments: Sequence[str], *, debug: bool, as_json: bool) -> int:
    """Print the error, as JSON too where the command was asked for JSON; the exit code."""
    leaves = list(_leaves(error))
    screen = Screen()
    if debug:
        screen.note(escape("".join(traceback.format_exception(error)).rstrip()), "")
    expected = [leaf for leaf in leaves if isinstance(leaf, FairleadError)]
    for leaf in leaves:
        problem = _expected(leaf) if isinstance(leaf, FairleadError) else _unexpected(leaf, arguments, debug=debug)
        screen.note(f"Error: {escape(problem)}", "red")
        if as_json:
            screen.json({"type": "error", "error": type(leaf).__name__, "text": problem})
    return 2 if len(expected) == len(leaves) and all(isinstance(leaf, (*_USAGE, Refused)) for leaf in leaves) else 1


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside nested groups, which nurseries make."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _expected(error: FairleadError) -> str:
    return str(error) if error.next_step else f"{error}\n  next: fairlead doctor"


def _unexpected(error: BaseException, arguments: Sequence[str], *, debug: bool) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if debug:
        return f"{text}\n  next: report this, with the traceback above, to Fairlead or to the plugin that it names"
    return f"{text}\n  next: {shlex.join(['fairlead', '--debug', *arguments])}"
