"""What the commands about sessions share: the journal that they open, and files of sessions."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import attrs

from fairlead.errors import FairleadError, SessionNotFound
from fairlead_cli._failures import Refused
from fairlead_cli._operations import operations
from fairlead_cli._options import keep, load, with_app

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fairlead import App
    from fairlead.config import Config

__all__ = ["erase_files", "erase_session", "with_journal", "with_models"]

_SEARCHED = 1000
"""Sessions, last used first, among which one with a similar name is looked for."""


def with_journal(config_file: str | None, profile: str | None, action: Callable[[App], Awaitable[Any]]) -> Any:
    """Do something with the journal; nothing but the memory is opened for it."""
    return _with(attrs.evolve(keep(load(config_file, profile), "memories"), models={}), action)


def with_models(config_file: str | None, profile: str | None, action: Callable[[App], Awaitable[Any]]) -> Any:
    """Do something that may ask a model: past the policies, and with no channel and no tool."""
    return _with(keep(load(config_file, profile), "memories", "providers", "policies"), action)


def _with(config: Config, action: Callable[[App], Awaitable[Any]]) -> Any:
    async def act(app: App) -> Any:
        try:
            return await action(app)
        except SessionNotFound as error:
            known = [info.id for info in await app.sessions.list(limit=_SEARCHED)]
            near = [name for name in known if name.endswith(f"/{error.session}")]
            if near := near or difflib.get_close_matches(error.session, known, n=1):
                raise attrs.evolve(error, problem=f"{error.problem}; did you mean {near[0]!r}?") from None
            raise

    return with_app(config, act)


async def erase_session(app: App, config: Config, session: str) -> bool:
    """Remove a session for good, with the files of isolated tools. False where there is neither."""
    erased = await app.sessions.erase(session)
    had_files = await erase_files(config, session)
    return erased or had_files


async def erase_files(config: Config, session: str) -> bool:
    """The files of isolated tools, which may be left from a try that failed. False where there are none."""
    try:
        erase_session_files = operations().erase_session_files
    except Refused:  # nothing is installed that isolates
        return False
    try:
        return bool(await erase_session_files(config, session))
    except FairleadError as error:
        problem = f"the words of {session!r} are erased, and its files are not: {error.problem}"
        again = f"fairlead sessions erase {session} --yes"
        raise Refused(problem, next_step=f"{error.next_step}; then: {again}" if error.next_step else again) from error
