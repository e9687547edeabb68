"""One mailbox, message by message, into the inbox: what is handed in, what is not, and how far it has come."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, TypeVar

import trio
from attrs import define, evolve, field, frozen

from fairlead import Address, Inbound, Inbox, Principal, Receipt
from fairlead.errors import JournalUnavailable, SchemaError
from fairlead.types import Part
from fairlead_email._answer import Errand
from fairlead_email._body import read_body
from fairlead_email._imap import Imap, Mail
from fairlead_email._letter import Letter, read_letter
from fairlead_email._options import Options
from fairlead_email._proof import Proof, Resolver, dkim_proof, is_sound, results_proof
from fairlead_email._store import Held, Position, Store
from fairlead_email._wire import Refused

__all__ = ["Pickup"]

DONE, HELD, IGNORED = "$Fairlead", "$FairleadHeld", "$FairleadIgnored"
NOTICE_SECONDS = 60.0
"""Between two notices to one person."""
HOUR = 3600.0
KEY_PAUSES = (1.0, 4.0, 0.0)
"""Seconds after each look-up of a signature's key that the DNS did not answer."""
LONGEST_PAUSE = 30.0

T = TypeVar("T")
_log = logging.getLogger(__name__)


@frozen
class _Arrival:
    """A mail that may be handed in."""

    letter: Letter
    parts: tuple[Part, ...]
    roles: tuple[str, ...]
    digest: str
    errand: Errand
    members: tuple[str, ...]
    """Who is in its thread from now on."""


@frozen
class _Declined:
    """A mail that is not."""

    fate: Literal["held", "ignored", "unresolved"]
    """``ignored``: nothing of interest. ``unresolved``: it cannot be said now."""
    why: str
    sender: str = ""


@define(eq=False)
class Pickup:
    """Takes the mails of one run."""

    options: Options
    store: Store
    inbox: Inbox
    resolve: Resolver
    clock: Callable[[], float]
    notify: Callable[[Address, str, str], Awaitable[None]]
    """Sends a notice: the conversation, the id of the mail, the words."""
    _noticed: dict[str, float] = field(factory=dict)

    async def _kept(self, step: Callable[..., T], *values: object) -> T:
        """A step of the store, in a thread. It is waited for: half a step is none."""
        return await trio.to_thread.run_sync(partial(step, *values))

    async def serve(self, imap: Imap, settled: Callable[[], None]) -> None:
        """Until the connection ends (`Gone`, `Refused`). `settled` is called once it is known where to begin."""
        position = await self._begin(imap)
        settled()
        while True:
            imap.changed = False
            # n:* always finds the last message, also where its number is below n (RFC 3501, 6.4.8).
            for uid in await imap.search(f"UID {position.uid + 1}:*"):
                if uid > position.uid:
                    position = await self._take(imap, uid, position)
            if "IDLE" in imap.capabilities:
                await imap.idle(self.options.idle_seconds)
            else:
                await trio.sleep(self.options.poll_seconds)
                await imap.command(b"NOOP")

    async def _begin(self, imap: Imap) -> Position:
        """Where the last run ended; at the first run at the end of the mailbox, or at its beginning (`backlog`)."""
        options = self.options
        found = await self._kept(self.store.position, options.mailbox)
        if found is not None and found.validity == imap.validity:
            return found
        if found is not None:
            # The mailbox was made anew, and all its messages have other numbers (RFC 3501, 2.3.1.1).
            _log.warning("%s: the messages of %s were numbered anew", options.name, options.mailbox)
            return Position(imap.validity, await self._first_since(imap, found.since) - 1, found.since)
        last = imap.next_uid - 1 if imap.next_uid else max(await imap.search("ALL"), default=0)
        position = Position(imap.validity, 0 if options.backlog else last, self.clock())
        await self._kept(self.store.advance, options.mailbox, position)
        return position

    async def _first_since(self, imap: Imap, since: float) -> int:
        """The number of the first message that came then or later; of the next one to come where there is none.

        What was handed in before is handed in again, and known to the journal by its id.
        """
        day = time.gmtime(since - 86_400)  # SINCE takes days, of any time zone
        month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[day.tm_mon - 1]
        for uid in await imap.search(f"SINCE {day.tm_mday}-{month}-{day.tm_year} UNKEYWORD {DONE}"):
            mail = await imap.fetch(uid, 1)
            if mail is not None and (not mail.date or mail.date >= int(since)):
                return uid
        return imap.next_uid or max(await imap.search("ALL"), default=0) + 1

    async def _take(self, imap: Imap, uid: int, position: Position) -> Position:
        """One message: hand it in, mark it, and only then move on."""
        mail = await imap.fetch(uid, self.options.max_bytes)
        if mail is not None:
            declined = await self._hand_in(mail)
            if declined is not None and declined.fate == "held":
                held = Held(declined.sender, declined.why, self.clock())
                await self._kept(self.store.hold, self.options.mailbox, imap.validity, uid, held)
                _log.warning("%s: a mail from %r was held: %s", self.options.name, held.sender, held.why)
            await self._mark(imap, uid, declined)
        position = evolve(position, uid=uid, since=max(position.since, mail.date if mail else 0.0))
        await self._kept(self.store.advance, self.options.mailbox, position)
        return position

    async def _mark(self, imap: Imap, uid: int, declined: _Declined | None) -> None:
        """Show in the mailbox what became of a message. Where the server does not let us, the position still counts."""
        try:
            if declined is None:
                await imap.flag(uid, DONE, "\\Seen")
            else:
                await imap.flag(uid, HELD if declined.fate == "held" else IGNORED)
            target = self.options.move_to if declined is None else self.options.hold_in
            if target and (declined is None or declined.fate == "held"):
                await imap.move(uid, target)
        except Refused as error:
            _log.warning("%s: message %d cannot be marked: %s", self.options.name, uid, error)

    async def _hand_in(self, mail: Mail) -> _Declined | None:
        """None: the journal has it. Otherwise why it was not handed in."""
        read = await self._read(mail)
        if isinstance(read, _Declined):
            return read
        letter, store, options = read.letter, self.store, self.options
        own_id = letter.message_id or f"sha256:{read.digest}"
        root = await self._kept(store.conversation, letter.references, own_id, letter.sender)
        external_id = await self._kept(store.external_id, letter.message_id, root, read.digest)
        if not await self._kept(store.is_known, external_id, root):
            if await self._kept(store.recent, letter.sender, self.clock() - HOUR) >= options.per_hour:
                return _Declined("held", f"more than {options.per_hour} mails in an hour", letter.sender)
            values = (external_id, root, read.digest, letter.sender, read.errand, read.members, self.clock())
            await self._kept(store.remember, *values)
        address = Address(options.name, options.address, root)
        author = Principal(f"{options.name}:{letter.sender}", letter.sender_name, read.roles)
        answered = letter.references[-1] if letter.references else ""
        try:
            receipt = await self._accept(Inbound(address, author, read.parts, external_id, answered))
        except SchemaError as error:
            return _Declined("held", f"it does not fit: {error.problem}", letter.sender)
        await self._give_notice(receipt, address, external_id, author)
        return None

    async def _accept(self, inbound: Inbound) -> Receipt:
        """Hand it in, until the journal has it. Nothing else is taken meanwhile: the order stays."""
        pause = 0.5
        while True:
            try:
                return await self.inbox.accept(inbound)
            except JournalUnavailable as error:
                _log.warning(
                    "%s: the journal did not keep a mail, which is handed in again: %s", inbound.address, error
                )
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _give_notice(self, receipt: Receipt, address: Address, external_id: str, author: Principal) -> None:
        """Tell a sender what the core says: only one who is proven, since others get mail that they did not cause."""
        now = trio.current_time()
        if not receipt.notice or "authenticated" not in author.roles:
            return
        if now - self._noticed.get(author.id, -NOTICE_SECONDS) < NOTICE_SECONDS:
            return
        self._noticed = {one: at for one, at in self._noticed.items() if now - at < NOTICE_SECONDS}
        self._noticed[author.id] = now
        await self.notify(address, external_id, receipt.notice)

    # -- reading

    async def _read(self, mail: Mail) -> _Arrival | _Declined:
        """Read and judge a mail, in a thread: a large one takes a second."""
        for pause in KEY_PAUSES:
            read = await trio.to_thread.run_sync(self._judge, mail, abandon_on_cancel=True)
            if not isinstance(read, _Declined) or read.fate != "unresolved":
                return read
            await trio.sleep(pause)
        return _Declined("held", "the key of its signature cannot be looked up")

    def _judge(self, mail: Mail) -> _Arrival | _Declined:
        try:
            letter = read_letter(mail.raw)
            return self._decline(letter) or self._prove(letter, mail)
        except Exception as error:  # noqa: BLE001  # the parsers raise what they like on what is made to harm them
            return _Declined("held", f"it cannot be read: {type(error).__name__}")

    def _decline(self, letter: Letter) -> _Declined | None:
        own, others = self.options.own, {*letter.to, *letter.copied} - self.options.own - {letter.sender}
        groups, named = self.options.groups, bool(own & set(letter.to))
        if letter.automatic:
            return _Declined("ignored", letter.automatic, letter.sender)
        if letter.sender in own:
            return _Declined("ignored", "an own mail", letter.sender)
        if not letter.sender:
            return _Declined("held", "its From field does not name one address")
        if groups != "all" and not named and not own & set(letter.copied):
            return _Declined("held", f"it is not addressed to {self.options.address}", letter.sender)
        if groups != "all" and not named:
            return _Declined("ignored", "a copy of a mail to others", letter.sender)
        if groups == "off" and others:
            return _Declined("ignored", "a mail to several people", letter.sender)
        return None

    def _prove(self, letter: Letter, mail: Mail) -> _Arrival | _Declined:
        options = self.options
        sound = options.authentication != "off" and is_sound(letter, mail.raw)
        proof = self._proof(letter, mail) if sound else Proof()
        if options.authentication == "required" and not proof.proven:
            if proof.unresolved:
                return _Declined("unresolved", "the key of its signature cannot be looked up", letter.sender)
            why = "is refused by DMARC" if proof.refuted else "is not proven"
            return _Declined("held", f"its sender {why}: anybody can have written it", letter.sender)
        parts = read_body(mail.raw, letter, options, cut=mail.size > len(mail.raw))
        several = bool({*letter.to, *letter.copied} - options.own - {letter.sender})
        roles = (
            "authenticated" if proof.proven else "unauthenticated",
            "group" if several else "direct",
            *proof.proven,
        )
        # Whoever may write what he likes into From may do so into Reply-To, and have answers sent to anybody; and into
        # Cc, and let himself into the thread of others.
        trusted = bool(proof.proven) or options.authentication == "off"
        recipient = letter.reply_to if trusted and proof.reply_to and letter.reply_to else letter.sender
        recipient = letter.sender if recipient in options.own else recipient
        errand = Errand(recipient, letter.subject, letter.message_id, letter.references)
        members = (letter.sender, *((recipient, *letter.to, *letter.copied) if trusted else ()))
        return _Arrival(letter, parts, roles, letter.digest(mail.raw), errand, members)

    def _proof(self, letter: Letter, mail: Mail) -> Proof:
        found = results_proof(letter, self.options.authserv_id) if self.options.authserv_id else Proof()
        # A signature of the body cannot be checked where its end was not fetched.
        if found.proven or found.refuted or not self.options.verify_dkim or mail.size > len(mail.raw):
            return found
        return dkim_proof(letter, mail.raw, self.resolve)
