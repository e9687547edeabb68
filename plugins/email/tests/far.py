"""Who writes mail to a channel, and the channel that reads it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from pathlib import Path
from typing import Any

import trio

from fairlead import Settings
from fairlead.testing import FakeInbox
from fairlead_email._channel import EmailChannel
from fairlead_email._options import Options, read_options

from .dovecot import PASSWORD

ANN = "ann@example.net"
_numbers = itertools.count(1)


def new_address() -> str:
    """A mailbox that no other test has."""
    return f"bot{next(_numbers)}@example.org"


def settings(data_dir: Path, **options: Any) -> Settings:
    table = {
        "address": "bot@example.org",
        "password": PASSWORD,
        "imap": "imaps://127.0.0.1",
        "smtp": "smtps://127.0.0.1",
        "authentication": "off",
        "reconnect_seconds": 2,
        **options,
    }
    return Settings("mail", table, data_dir)


def make_options(**options: Any) -> Options:
    return read_options(settings(Path("nowhere"), **options))


def make_channel(data_dir: Path, **options: Any) -> EmailChannel:
    return EmailChannel(read_options(settings(data_dir, **options)))


def letter(
    text: str = "hello", to: str = "bot@example.org", /, *, sender: str = f"Ann <{ANN}>", **fields: str
) -> bytes:
    """A mail as a person's mail program writes it. `fields`: of its head, with ``_`` for ``-``; empty: left out."""
    mail = EmailMessage(policy=SMTP)
    head = {
        "From": sender,
        "To": to,
        "Subject": "A question",
        "Date": formatdate(1_800_000_000),
        "Message-ID": f"<{next(_numbers)}.test@example.net>",
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    mail.set_content(text)
    lines = [f"{name}: {value}" for name, value in head.items() if value]
    return "\r\n".join([*lines, ""]).encode("utf-8", "surrogateescape") + mail.as_bytes()


@asynccontextmanager
async def running(channel: EmailChannel, inbox: FakeInbox | None = None) -> AsyncIterator[FakeInbox]:
    """An open channel that runs, with what it hands in."""
    inbox = inbox or FakeInbox()
    await channel.open()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run, inbox)
            with trio.fail_after(20):
                await inbox.wait_ready()
            yield inbox
            nursery.cancel_scope.cancel()
    finally:
        await channel.close()
