"""The policy: who may talk to an agent, and what a stranger is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import trio

from fairlead import Finding, Policy, Principal, Review, Settings, Verdict
from fairlead_contacts._book import Book, ContactsUnavailable, has_room, issue
from fairlead_contacts._options import read_options
from fairlead_contacts._state import Pending

__all__ = ["Contacts"]

LOOK_SECONDS = 1.0
"""How often the file is looked at, at most: an approval counts for the running gateway after this time."""
ID_CHARS = 500
"""The longest id and account, together, that are written to the file."""
RULE = "contacts"
STRANGER = Verdict("deny", RULE, reason="you are not known here")


class Contacts(Policy):
    """Denies the messages of people who are not known, and gives a few of them a code to show to the operator.

    Nothing of the message is read or kept. For people who are known, a review is a lookup in memory.
    """

    boundaries = frozenset({"message_in"})

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self.options = read_options(settings)
        self.book = Book(settings.data_dir)
        self.clock: Callable[[], float] = time.time
        """Unix seconds."""
        self.ticks: Callable[[], float] = time.monotonic
        """Seconds that no setting of the clock moves."""
        self._looked = -LOOK_SECONDS
        self._trouble: ContactsUnavailable | None = None
        self._issuing = trio.Lock()

    async def open(self) -> None:
        """Read the file. One that is damaged keeps everybody out but those whom the options allow."""
        self._look(now=True)

    async def review(self, review: Review) -> Sequence[Verdict]:
        """Nothing for who may talk; a denial for the others, with the same code each time while it is valid."""
        address, person = review.address, review.principal
        if review.boundary != "message_in" or address is None:
            return ()  # no channel: the host application asks in its own name
        if person is None or not person.id or len(person.id) + len(address.account) > ID_CHARS:
            return (STRANGER,) if self.options.mode_of(address.channel) != "open" else ()
        if person in self.options.block:
            return (STRANGER,)
        mode = self.options.mode_of(address.channel)
        if mode == "open" or person in self.options.allow:
            return ()
        self._look()
        key = (address.channel, address.account, person.id)
        if key in self.book.state.known:
            return ()
        if mode == "allow" or self._trouble is not None:
            return (STRANGER,)
        return await self._answer_stranger(key, person)

    async def _answer_stranger(self, key: tuple[str, str, str], person: Principal) -> Sequence[Verdict]:
        now = self.clock()
        wanted = Pending("", *key, name=person.name)
        if has_room(self.book.state, wanted, now):
            await self._issue(wanted, now)
        if key in self.book.state.known:
            return ()  # approved meanwhile
        code = self.book.state.asked.get(key)
        if code is None or code.status != "open" or code.expires <= now:
            return (STRANGER,)
        until = time.strftime("%H:%M UTC", time.gmtime(code.expires))
        reason = f"you are not known here. Give this code to whoever runs this: {code.code} (valid until {until})"
        return (Verdict("deny", RULE, reason=reason),)

    async def _issue(self, wanted: Pending, now: float) -> None:
        """Put a code into the file: a few times an hour, in a thread, since it waits for the lock and for the disk."""
        async with self._issuing:
            if not has_room(self.book.state, wanted, now):
                return  # another message of the same person was faster
            try:
                await trio.to_thread.run_sync(self.book.change, partial(issue, person=wanted, now=now))
            except ContactsUnavailable as error:
                self._trouble = error
                self._looked = self.ticks()

    def _look(self, *, now: bool = False) -> None:
        """Read the file again where it is another one; at most once a second."""
        ticks = self.ticks()
        if not now and ticks - self._looked < LOOK_SECONDS:
            return
        self._looked = ticks
        try:
            self.book.refresh()
        except ContactsUnavailable as error:
            self._trouble = error
        else:
            self._trouble = None

    async def check(self) -> Sequence[Finding]:
        """Whether the file can be read, and who waits."""
        self._look(now=True)
        if self._trouble is not None:
            return (Finding(self.name, ok=False, detail=self._trouble.problem, next_step=self._trouble.next_step),)
        state, now = self.book.state, self.clock()
        waiting = sum(code.status == "open" and code.expires > now for code in state.codes)
        detail = f"mode {self.options.mode}; people known: {len(state.contacts)}; codes that wait: {waiting}"
        return (Finding(self.name, ok=True, detail=detail),)
