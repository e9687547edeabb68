"""The file ``contacts/contacts.json`` below the app's data: shared by the gateway and the command, changed in one step.

Whoever changes it holds a lock on the file beside it, reads the newest state, and puts a new file in the old one's
place. Readers need no lock; they see that the file is another one by its identity.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from attrs import define, evolve, field

from fairlead.errors import FairleadError
from fairlead_contacts._state import Pending, State, parse, printable, render

__all__ = ["CODE_SECONDS", "Book", "ContactsUnavailable", "contacts_file", "has_room", "issue"]

T = TypeVar("T")

CODE_SECONDS = 3600.0
"""How long a code is valid, and how long its person gets no other one."""
OPEN_CODES = 3
"""Of one channel, at the same time: a crowd of strangers must not bury the one who was invited."""
CODE_CHARS = 8
ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Without what looks or sounds like another: 0 and O, 1, I and L, U and V. 30**8 codes: 39 bits."""
LOCK_SECONDS = 2.0
"""Less than the core's time for a review, so that a command that hangs denies one message and stops nothing."""
_PAUSE = 0.01


class ContactsUnavailable(FairleadError):
    """The file cannot be read or written now, or is damaged; nothing was changed, and nobody new is let in."""


def contacts_file(data_dir: Path) -> Path:
    """Where the contacts of an app are kept."""
    return data_dir / "contacts" / "contacts.json"


@define(eq=False)
class Book:
    """The contacts of one app, as one process sees them."""

    data_dir: Path
    state: State = field(factory=State, init=False)
    """As it was when it was last looked at."""
    _seen: tuple[int, ...] | None = field(default=None, init=False)
    """What told the file of `state` from others; None where there was none."""

    @property
    def file(self) -> Path:
        return contacts_file(self.data_dir)

    def refresh(self) -> State:
        """Look whether there is another file, and read it then. `ContactsUnavailable`."""
        try:
            found = self.file.stat()
            identity = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
            if identity != self._seen:
                self.state, self._seen = parse(self.file.read_text("ascii")), identity
        except FileNotFoundError:
            self.state, self._seen = State(), None
        except (OSError, ValueError) as error:
            self._seen = None
            raise ContactsUnavailable(
                f"{self.file} cannot be used: {error}",
                next_step=f"mend the file, or move it away and approve everybody anew: mv {self.file} {self.file}.old",
            ) from error
        return self.state

    def change(self, decide: Callable[[State], tuple[State, T]]) -> T:
        """Read the newest state, let `decide` make the next one of it, and keep that. `ContactsUnavailable`.

        When it returns, the change survives power loss. What `decide` raises changes nothing.
        """
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                before = self.refresh()
                after, outcome = decide(before)
                if after != before:
                    self._replace(after)
        except OSError as error:
            raise ContactsUnavailable(
                f"{self.file} cannot be written: {error}", next_step=f"ls -la {self.file.parent}; df {self.file.parent}"
            ) from error
        self.refresh()
        return outcome

    @contextmanager
    def _locked(self) -> Iterator[None]:
        deadline = time.monotonic() + LOCK_SECONDS
        handle = os.open(self.file.with_name("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _lock(handle):
                if time.monotonic() > deadline:
                    raise ContactsUnavailable(
                        f"another process has held {self.file.with_name('lock')} for {LOCK_SECONDS:g} s",
                        next_step=f"find it with: fuser -v {self.file.with_name('lock')}",
                    )
                time.sleep(_PAUSE)
            yield
        finally:
            os.close(handle)

    def _replace(self, state: State) -> None:
        new = self.file.with_name(f"new-{secrets.token_hex(4)}")
        try:
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(render(state))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.file)
        finally:
            new.unlink(missing_ok=True)
        directory = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def has_room(state: State, person: Pending, now: float) -> bool:
    """Whether this person may be given a code: known to nobody, none within the hour, not too many others who wait."""
    code = state.asked.get(person.key)
    if person.key in state.known or (code is not None and code.expires > now):
        return False
    return state.open_codes(person.channel, now) < OPEN_CODES


def issue(state: State, person: Pending, now: float) -> tuple[State, None]:
    """The state in which this person has a code, where one may be given: for `Book.change`."""
    if not has_room(state, person, now):
        return state, None
    codes = tuple(code for code in state.codes if code.expires > now)
    taken = {code.code for code in codes}
    text = next(code for code in iter(_fresh, "") if code not in taken)
    given = evolve(person, code=text, name=printable(person.name), issued=now, expires=now + CODE_SECONDS)
    return evolve(state, codes=(*codes, given)), None


def _fresh() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARS))
