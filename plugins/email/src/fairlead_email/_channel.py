"""The mailbox as the core sees it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from fairlead import Address, Capabilities, Channel, Delivery, Finding, Inbox, Outbound, Text
from fairlead_email._answer import Errand, message_id_of, render
from fairlead_email._imap import LoginRefused, imap_session
from fairlead_email._letter import normal_address
from fairlead_email._options import Options
from fairlead_email._pickup import Pickup
from fairlead_email._proof import Resolver
from fairlead_email._smtp import smtp_session, submit
from fairlead_email._store import Store
from fairlead_email._wire import Gone, Refused

__all__ = ["EmailChannel", "resolve_txt"]

FIRST_PAUSE = 1.0
"""Seconds before the second connection; doubled for each further one."""
LOGIN_PAUSE = 300.0
"""After a wrong password: providers lock an account that keeps trying."""
CHECK_SECONDS = 4.0
HELD_SECONDS = 7 * 86_400
TRIES = 1000
"""Answers whose failures are counted."""
AT_ONCE = 3
"""Connections for sending."""
_log = logging.getLogger(__name__)


def resolve_txt(name: str) -> bytes | None:
    """A TXT record by the system's resolver. It blocks for up to 5 s; raises where nothing answers."""
    from dkim.dnsplug import get_txt  # type: ignore[import-untyped]  # noqa: PLC0415  # it has no types; only signed mail needs it

    record: bytes | None = get_txt(name.encode("ascii"))
    return record


class EmailChannel(Channel):
    """Mail comes by IMAP, answers go by SMTP."""

    capabilities = Capabilities(
        markup="markdown",
        threads=True,
        media=frozenset({"application/*", "audio/*", "image/*", "text/*", "video/*"}),
        # No mail server promises that. The store does: it notes each mail before its end is sent, and what was noted is
        # not sent again. Where the store is lost nothing is known of the recipients either.
        idempotency=True,
    )

    def __init__(self, options: Options) -> None:
        self.options = options
        self.name = options.name
        self.clock: Callable[[], float] = time.time
        """Unix seconds."""
        self.resolve: Resolver = resolve_txt
        """Where keys of signatures are looked up."""
        self.trouble = ""
        """Why there is no connection now; empty where there is one."""
        self._store: Store | None = None
        self._tries: dict[str, int] = {}
        self._lines = trio.Semaphore(AT_ONCE)

    async def open(self) -> None:
        """Open the file that keeps the position and the threads."""
        store = Store(self.options.data_dir / "mail.sqlite3")
        await trio.to_thread.run_sync(store.open, self.clock())
        self._store = store

    async def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            store, self._store = self._store, None
            await trio.to_thread.run_sync(store.close)

    async def run(self, inbox: Inbox) -> None:
        """Take mail until cancelled; a server that is away is tried again with growing pauses."""
        if self._store is None:
            raise RuntimeError("run() was called before open()")
        pickup = Pickup(self.options, self._store, inbox, self.resolve, self.clock, self._notify)
        pause, told, logged = FIRST_PAUSE, False, ""

        def settled() -> None:
            nonlocal pause, told, logged
            pause, self.trouble, logged = FIRST_PAUSE, "", ""
            if not told:
                told = True
                inbox.ready(f"{self.options.address} ({self.options.mailbox} at {self.options.imap})")

        while True:
            try:
                async with imap_session(self.options) as imap:
                    await pickup.serve(imap, settled)
            except LoginRefused as error:
                pause, self.trouble = LOGIN_PAUSE, str(error)
            except (Gone, Refused) as error:
                self.trouble = str(error)
            if self.trouble != logged:  # a server that is away for a night fills no log
                _log.warning("%s: no mail now, it is tried again and again: %s", self.name, self.trouble)
                logged = self.trouble
            # Less up to half by chance, so that many channels do not all come back at once.
            await trio.sleep(pause * (1 - random.random() / 2))  # noqa: S311  # it guards nothing
            pause = min(2 * pause, max(pause, self.options.reconnect_seconds))

    async def send(self, outbound: Outbound) -> Delivery:
        """To who wrote the mail that is answered; where the conversation is a mail address, a new mail to that."""
        if self._store is None:
            return Delivery("failed", reason="the channel is not open", retry_after=1.0)
        errand = await trio.to_thread.run_sync(self._errand, self._store, outbound)
        if errand is None:
            where = outbound.address.conversation
            return Delivery("failed", reason=f"nothing is known of the conversation {where!r}: there is no recipient")
        data = await trio.to_thread.run_sync(render, outbound, errand, self.options, self.clock())
        own_id = message_id_of(outbound.id, self.options.address)
        store, tries = self._store, self._tries.pop(outbound.id, 0)
        values = (own_id, outbound.address.conversation, errand.recipient, self.clock())
        await trio.to_thread.run_sync(store.remember_sent, *values)

        async def settle(state: str) -> None:
            with trio.CancelScope(shield=True):  # a write of some milliseconds
                await trio.to_thread.run_sync(store.settle, own_id, state, self.clock())

        async with self._lines:
            state = await trio.to_thread.run_sync(store.sending, own_id)
            if state:
                reason = "" if state == "sent" else "its end was sent before, and the server's answer is not known"
                return Delivery("sent" if state == "sent" else "ambiguous", external_id=own_id, reason=reason)
            again = self.options.retry_seconds * 2.0 ** min(tries, 6)
            delivery = await submit(self.options, errand.recipient, data, own_id, again, partial(settle, "sending"))
            if delivery.status != "ambiguous":
                await settle("sent" if delivery.status == "sent" else "")
        if delivery.status == "failed" and delivery.retry_after is not None and len(self._tries) < TRIES:
            self._tries[outbound.id] = tries + 1
        return delivery

    def _errand(self, store: Store, outbound: Outbound) -> Errand | None:
        conversation = outbound.address.conversation
        return store.errand(conversation, outbound.in_reply_to) or (
            Errand(address) if (address := normal_address(conversation)) else None
        )

    async def _notify(self, address: Address, external_id: str, words: str) -> None:
        """A notice is sent once, as well as can be."""
        with trio.move_on_after(30):
            await self.send(Outbound(f"notice {external_id}", address, (Text(words),), external_id, "notice"))

    async def check(self) -> Sequence[Finding]:
        """Both servers: reachable, and the login accepted; the mailbox; how senders are proven; what was held."""
        findings: dict[str, Finding] = {}

        async def look(subject: str, step: Callable[[], Awaitable[str]], next_step: str) -> None:
            try:
                with trio.fail_after(CHECK_SECONDS):
                    findings[subject] = Finding(subject, ok=True, detail=await step())
            except LoginRefused as error:
                findings[subject] = Finding(subject, ok=False, detail=str(error), next_step=self._mend_password())
            except (Gone, Refused, trio.TooSlowError) as error:
                detail = str(error) or f"no answer in {CHECK_SECONDS:g} s"
                if isinstance(error, Refused) and error.code in {530, 534, 535}:
                    next_step = self._mend_password()
                findings[subject] = Finding(subject, ok=False, detail=detail, next_step=next_step)

        imap, smtp = self.options.imap, self.options.smtp
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, "imap", self._look_in, f"openssl s_client -connect {imap}")
            nursery.start_soon(look, "smtp", self._look_out, f"openssl s_client -connect {smtp}")
        return [findings["imap"], findings["smtp"], self._check_proof(), *await self._check_held()]

    def _mend_password(self) -> str:
        source = self.options.password.source or f"`password` in [channels.{self.name}]"
        return f"put the password of {self.options.username} into {source}; some providers want one made for programs"

    async def _look_in(self) -> str:
        async with imap_session(self.options) as imap:
            waits = (
                "IDLE" if "IDLE" in imap.capabilities else f"no IDLE: looked at every {self.options.poll_seconds:g} s"
            )
            marks = "" if imap.keywords else ", takes no keywords: nothing shows in it what became of a mail"
            return f"{self.options.mailbox} at {self.options.imap} opens ({waits}{marks})"

    async def _look_out(self) -> str:
        async with smtp_session(self.options) as smtp:
            login = "accepts the login" if smtp.offers.get("AUTH") else "wants no login"
            return f"{self.options.smtp} {login}"

    def _check_proof(self) -> Finding:
        options = self.options
        if options.authentication == "off":
            detail = "off: whoever writes an address into From speaks as its owner"
            return Finding("authentication", ok=True, detail=detail)
        means = [f"the results of {options.authserv_id}"] if options.authserv_id else []
        means += ["DKIM signatures checked here"] if options.verify_dkim else []
        return Finding("authentication", ok=True, detail=f"{options.authentication}, by {' and '.join(means)}")

    async def _check_held(self) -> list[Finding]:
        if self._store is None:
            return []
        held = await trio.to_thread.run_sync(self._store.held, self.clock() - HELD_SECONDS)
        if not held:
            return [Finding("held", ok=True, detail="no mail was held in the last 7 days")]
        newest = held[0]
        detail = (
            f"{len(held)} mails of the last 7 days were not handed in; the newest, from "
            f"{newest.sender or 'nobody'}: {newest.why}"
        )
        where = self.options.hold_in or self.options.mailbox
        return [Finding("held", ok=False, detail=detail, next_step=f"look at them in {where} (keyword $FairleadHeld)")]
