"""The channel keeps the promises of a channel, against a real dovecot and a real SMTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from fairlead import Channel
from fairlead.testing import ChannelConformance

from .dovecot import PASSWORD, Dovecot
from .far import ANN, letter, make_channel, new_address
from .post import SWALLOW, Gate, Post, bytes_of, gated, posting, text_of


class TestEmail(ChannelConformance):
    backlog = True
    dovecot: Dovecot
    server: Post
    imap: Gate
    smtp: Gate
    address: str

    @pytest.fixture(autouse=True)
    def _mail_server(self, dovecot: Dovecot) -> None:
        self.dovecot = dovecot

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        self.address = new_address()
        with posting() as self.server:
            async with gated(self.dovecot.imap) as self.imap, gated(self.server.port) as self.smtp:
                yield

    async def make_worker(self, tmp_path: Path) -> Channel:
        return make_channel(
            tmp_path,
            address=self.address,
            imap=f"imap://127.0.0.1:{self.imap.port}",
            smtp=f"smtp://127.0.0.1:{self.smtp.port}",
            plaintext=True,
            per_hour=1000,
            retry_seconds=1,
        )

    async def inbound(self, text: str, external_id: str) -> None:
        await self._say(text, external_id, "room", ANN)

    async def elsewhere(self, text: str, external_id: str) -> None:
        await self._say(text, external_id, "hall", "bob@example.com")

    async def _say(self, text: str, external_id: str, room: str, sender: str) -> None:
        more = {"References": f"<{room}@example.net>", "Message-ID": f"<{external_id.replace(' ', '-')}@example.net>"}
        raw = letter(text, self.address, sender=sender, **more)
        await trio.to_thread.run_sync(self.dovecot.put, self.address, raw)

    def _read(self, recipient: str) -> list[str]:
        return [text_of(mail) for mail in self.server.mails() if mail["To"] == recipient]

    async def outbox(self) -> Sequence[str]:
        return self._read(ANN)

    async def elsewhere_outbox(self) -> Sequence[str]:
        return self._read("bob@example.com")

    async def media_outbox(self) -> Sequence[tuple[str, bytes]]:
        parts = [part for mail in self.server.mails() for part in mail.iter_attachments()]
        return [(part.get_content_type(), bytes_of(part)) for part in parts]

    async def acknowledged(self, external_id: str) -> bool:
        mails = await trio.to_thread.run_sync(self.dovecot.mails, self.address)
        return any(b"$Fairlead" in flags and f"<{external_id}@".encode() in raw for flags, raw in mails)

    async def restarted(self) -> None:
        """The servers do not know one channel from another."""

    async def drop(self) -> None:
        await self.imap.drop()
        await self.smtp.drop()

    async def away(self) -> None:
        await self.imap.away()
        await self.smtp.away()

    async def back(self) -> None:
        self.imap.back()
        self.smtp.back()

    async def attempts(self) -> int:
        return self.imap.attempts

    async def hang(self) -> None:
        self.imap.hang()
        self.smtp.hang()

    async def swallow(self) -> None:
        self.server.script.append(SWALLOW)

    async def refuse(self, seconds: int) -> None:
        self.server.script.append("451 4.7.1 Too much for now")

    async def half(self, text: str, external_id: str) -> None:
        self.imap.cut_after = 600
        await self.inbound(text, external_id)

    async def raw(self, data: bytes) -> None:
        await self.imap.say(data)

    async def secrets(self) -> Sequence[str]:
        return [PASSWORD]
