"""What the operator does with contacts, for programs that do not import this package.

All functions are synchronous, take the data directory of the app first, and wait at most 2 s for another process.
A running gateway sees a change within a second. Errors are of Fairlead's tree, with a `next_step`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from attrs import evolve

from fairlead.errors import FairleadError
from fairlead_contacts._book import CODE_SECONDS, Book, ContactsUnavailable, contacts_file
from fairlead_contacts._state import Contact, Pending, State, normal_code

__all__ = [
    "Contact",
    "ContactsUnavailable",
    "NotKnown",
    "Pending",
    "TooManyGuesses",
    "UnknownCode",
    "approve",
    "contacts_file",
    "decline",
    "known",
    "pending",
    "remove",
]

Settled = Literal["approved", "declined"]

GUESSES = 10
"""Wrong codes within an hour, after which none is taken until the hour is over."""


class UnknownCode(FairleadError):
    """Nobody has this code, or it has expired, or it was used."""


class TooManyGuesses(FairleadError):
    """Too many wrong codes were typed, so no code is looked at now. Not `UnknownCode`: this one may be right."""


class NotKnown(FairleadError):
    """Nobody of that id is among the contacts."""


def pending(data_dir: Path, *, clock: Callable[[], float] = time.time) -> tuple[Pending, ...]:
    """The codes that can be approved, oldest first. `ContactsUnavailable`."""
    now = clock()
    return tuple(code for code in Book(data_dir).refresh().codes if code.status == "open" and code.expires > now)


def known(data_dir: Path) -> tuple[Contact, ...]:
    """Who was approved, oldest first. `ContactsUnavailable`."""
    return Book(data_dir).refresh().contacts


def approve(data_dir: Path, code: str, *, clock: Callable[[], float] = time.time) -> Contact:
    """Let the person in who was given this code; typed in any case, with spaces or dashes.

    `UnknownCode`, which counts as a guess; `TooManyGuesses`; `ContactsUnavailable`. Nothing was approved then.
    """
    found = _settle(data_dir, code, "approved", clock())
    return Contact(found.channel, found.account, found.principal, found.name, clock())


def decline(data_dir: Path, code: str, *, clock: Callable[[], float] = time.time) -> Pending:
    """Make a code void, and room for the next stranger; its person gets no other one within the hour.

    Errors as `approve`.
    """
    return _settle(data_dir, code, "declined", clock())


def remove(data_dir: Path, principal: str) -> tuple[Contact, ...]:
    """Take a person out of the contacts of all channels, by its id; those that were removed.

    `NotKnown`, `ContactsUnavailable`: nobody was removed.
    """

    def decide(state: State) -> tuple[State, tuple[Contact, ...]]:
        gone = tuple(contact for contact in state.contacts if contact.principal == principal)
        if not gone:
            raise NotKnown(f"{principal!r} is not among the contacts", next_step="fairlead contacts list")
        return evolve(state, contacts=tuple(contact for contact in state.contacts if contact not in gone)), gone

    return Book(data_dir).change(decide)


def _settle(data_dir: Path, typed: str, status: Settled, now: float) -> Pending:
    found: Pending | FairleadError = Book(data_dir).change(lambda state: _decide(state, typed, status, now))
    if isinstance(found, FairleadError):
        raise found
    return found


def _decide(state: State, typed: str, status: Settled, now: float) -> tuple[State, Pending | FairleadError]:
    """The next state, and the code or the error. Errors are values here: a wrong guess changes the state as well."""
    guesses = tuple(at for at in state.guesses if now - CODE_SECONDS < at <= now)
    if len(guesses) >= GUESSES:
        minutes = max(1, round((guesses[0] + CODE_SECONDS - now) / 60))
        problem = f"{len(guesses)} wrong codes were typed within the hour, so none is taken now"
        return state, TooManyGuesses(problem, next_step=f"wait {minutes} min, then type: fairlead contacts list")
    wanted = normal_code(typed)
    codes = [code for code in state.codes if code.code == wanted and code.status == "open" and code.expires > now]
    if not codes:
        problem = f"nobody waits with the code {typed[:40]!r}; codes are valid for one hour and once"
        error = UnknownCode(problem, next_step="fairlead contacts list")
        return evolve(state, guesses=(*guesses, now)), error
    settled = evolve(codes[0], status=status)
    after = evolve(state, codes=tuple(settled if code is codes[0] else code for code in state.codes), guesses=guesses)
    if status == "approved" and settled.key not in state.known:
        contact = Contact(settled.channel, settled.account, settled.principal, settled.name, now)
        after = evolve(after, contacts=(*after.contacts, contact))
    return after, settled
