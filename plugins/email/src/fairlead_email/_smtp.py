"""SMTP submission (RFC 6409, 5321) on trio: one mail, and what is known of it afterwards."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from attrs import define

from fairlead import Delivery
from fairlead_email._options import Options
from fairlead_email._wire import ANSWER_SECONDS, Gone, Refused, Wire, patience, wired

__all__ = ["Smtp", "smtp_session", "submit"]

END_SECONDS = 240.0
"""For the answer to the end of the mail (RFC 5321, 4.5.3.2.6 has 10 minutes; the core waits 5)."""
REPLY_LINES = 100
PASSING = 4
"""The first digit of what may be tried again."""


@define(eq=False)
class Smtp:
    """A session that is logged in. `Gone` and `Refused` from every method."""

    wire: Wire
    offers: dict[str, str]
    """Extensions by upper-case name, with what stands behind it."""

    async def reply(self, what: str, seconds: float = ANSWER_SECONDS) -> tuple[int, list[str]]:
        lines: list[str] = []
        with patience(seconds, f"SMTP {what}"):
            while True:
                line = (await self.wire.line()).decode("utf-8", "replace")
                if not re.match(r"[2-5]\d\d(?:[ -]|$)", line) or len(lines) > REPLY_LINES:
                    raise Gone(f"{self.wire.server} does not speak SMTP: {line[:80]!r}")
                lines.append(line[4:][:500])
                if line[3:4] != "-":
                    return int(line[:3]), lines

    async def command(self, line: str, *expected: int, what: str = "") -> list[str]:
        """`Refused`: the server answers with another code. `what`: how it is named, where it holds a secret."""
        what = what or line.partition(" ")[0]
        with patience(ANSWER_SECONDS, f"SMTP {what}"):
            await self.wire.send(f"{line}\r\n".encode())
        return await self.expect(what, *expected)

    async def expect(self, what: str, *expected: int, seconds: float = ANSWER_SECONDS) -> list[str]:
        code, lines = await self.reply(what, seconds)
        if code not in expected:
            raise Refused(f"{self.wire.server} answers {what} with {code} {' '.join(lines)[:300]}", code)
        return lines

    async def hello(self, name: str) -> None:
        lines = await self.command(f"EHLO {name}", 250)
        self.offers = {word[0].upper(): " ".join(word[1:]) for word in map(str.split, lines[1:]) if word}

    async def log_in(self, username: str, password: str) -> None:
        """By PLAIN or LOGIN. Where the server takes no login at all, none is tried: it says so itself."""
        methods = self.offers.get("AUTH", "").upper().split()
        if "PLAIN" in methods:
            words = base64.b64encode(f"\0{username}\0{password}".encode()).decode()
            await self.command(f"AUTH PLAIN {words}", 235, what="AUTH")
        elif "LOGIN" in methods:
            await self.command("AUTH LOGIN", 334)
            await self.command(base64.b64encode(username.encode()).decode(), 334, what="AUTH LOGIN")
            await self.command(base64.b64encode(password.encode()).decode(), 235, what="AUTH LOGIN")
        elif methods:
            raise Refused(f"{self.wire.server} takes no login by PLAIN or LOGIN, only {' '.join(methods)}", 504)


@asynccontextmanager
async def smtp_session(options: Options) -> AsyncIterator[Smtp]:
    """Connected, in TLS, logged in."""
    async with wired(options.smtp) as wire:
        smtp = Smtp(wire, {})
        await smtp.expect("the greeting", 220)
        # A name that says nothing of this machine; the login says who it is.
        name = options.address.rpartition("@")[2]
        await smtp.hello(name if name.isascii() else "localhost")
        if options.smtp.tls == "starttls":
            await smtp.command("STARTTLS", 220)
            with patience(ANSWER_SECONDS, f"TLS with {wire.server}"):
                await wire.start_tls()
            await smtp.hello(name)
        await smtp.log_in(options.username, options.password.reveal())
        yield smtp


async def submit(
    options: Options, recipient: str, data: bytes, external_id: str, again: float, note: Callable[[], Awaitable[None]]
) -> Delivery:
    """Send one mail, which ends with CRLF. `again`: seconds after which a failure that passes may be tried again.

    `note` is awaited before the end of the mail is sent: until then it has surely not arrived.
    """
    told = False
    try:
        async with smtp_session(options) as smtp:
            extras = _extras(smtp, recipient + options.address, data)
            await smtp.command(f"MAIL FROM:<{options.address}>{extras}", 250)
            await smtp.command(f"RCPT TO:<{recipient}>", 250, 251, 252)
            await smtp.command("DATA", 354)
            with patience(END_SECONDS, "SMTP DATA"):
                await smtp.wire.send(re.sub(rb"(?m)^\.", b"..", data))
            await note()
            with patience(END_SECONDS, "SMTP DATA"):
                told = True  # from here on nobody knows, until the server has answered
                await smtp.wire.send(b".\r\n")
            await smtp.expect("the end of the mail", 250, seconds=END_SECONDS)
    except Refused as error:
        # 4xx passes. A login that is refused is a fault of the configuration, which may be mended meanwhile.
        passes = error.code // 100 == PASSING or error.code in {530, 535}
        return Delivery("failed", reason=str(error), retry_after=again if passes else None)
    except Gone as error:
        if told:
            return Delivery("ambiguous", reason=f"the mail was sent, and its receipt is missing: {error}")
        return Delivery("failed", reason=str(error), retry_after=again)
    return Delivery("sent", external_id=external_id)


def _extras(smtp: Smtp, addresses: str, data: bytes) -> str:
    """The parameters of MAIL FROM. `Refused`: the server cannot take this mail."""
    size = smtp.offers.get("SIZE", "")
    if size.isdecimal() and 0 < int(size) < len(data):
        raise Refused(f"{smtp.wire.server} takes mails of at most {size} bytes, and this one has {len(data)}", 552)
    extras = f" SIZE={len(data)}" if "SIZE" in smtp.offers else ""
    if not data.isascii() and "8BITMIME" in smtp.offers:
        extras += " BODY=8BITMIME"
    if not addresses.isascii():
        if "SMTPUTF8" not in smtp.offers:
            raise Refused(f"{smtp.wire.server} takes no addresses beyond ASCII (SMTPUTF8)", 553)
        extras += " SMTPUTF8"
    return extras
