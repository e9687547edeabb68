"""A real SMTP server for submission (aiosmtpd, in its own thread), and a gate that breaks connections to servers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import trio
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from attrs import define, field

from .dovecot import PASSWORD, free_ports

SWALLOW = "swallow"


@define(eq=False)
class Post:
    """What the server got, and what it answers next."""

    port: int = 0
    envelopes: list[Envelope] = field(factory=list)
    script: list[str] = field(factory=list)
    """Answers to the next mails; `SWALLOW` takes it and breaks off. At its end: 250."""
    rcpt: list[str] = field(factory=list)
    """Answers to the next recipients."""
    deliver: Callable[[str, bytes], None] = lambda address, raw: None
    logins: list[str] = field(factory=list)
    options: dict[str, Any] = field(factory=dict)
    controller: Controller | None = None

    async def handle_MAIL(  # noqa: N802  # the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not session.authenticated:  # aiosmtpd can do that too, with a warning where there is no STARTTLS
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802  # the same
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt:
            return self.rcpt.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # the same
        answer = self.script.pop(0) if self.script else "250 OK"
        if answer.startswith("250") or answer == SWALLOW:
            self.envelopes.append(envelope)
            for address in envelope.rcpt_tos:
                self.deliver(address, raw_of(envelope))
        if answer == SWALLOW:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return answer

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.logins.append(mechanism)
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)

    def mails(self) -> list[EmailMessage]:
        """What was accepted, oldest first."""
        return [message_from_bytes(raw_of(envelope), policy=policy.default) for envelope in list(self.envelopes)]

    def start(self) -> None:
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, **self.options)
        self.controller.start()

    def stop(self) -> None:
        if self.controller is not None:
            self.controller.stop()
            self.controller = None


def raw_of(envelope: Envelope) -> bytes:
    assert isinstance(envelope.content, bytes)
    return envelope.content


def bytes_of(part: EmailMessage) -> bytes:
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    return data


def text_of(mail: EmailMessage) -> str:
    """What a mail program shows: the plain text."""
    body = mail.get_body(("plain",))
    return "" if body is None else str(body.get_content()).replace("\r\n", "\n").removesuffix("\n")


@contextmanager
def posting(
    cert: Path | None = None,
    *,
    starttls: bool = False,
    deliver: Callable[[str, bytes], None] | None = None,
    **more: Any,
) -> Iterator[Post]:
    """A server for submission: with TLS from the start, with STARTTLS, or without a certificate in plain text."""
    post = Post(free_ports(1)[0])
    if deliver is not None:
        post.deliver = deliver
    context = None
    if cert is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, cert.with_name("key.pem"))
    post.options = {
        "ssl_context": None if starttls else context,
        "authenticator": post.authenticate,
        "auth_require_tls": starttls,
        "enable_SMTPUTF8": True,
        **({"tls_context": context, "require_starttls": True} if starttls else {}),
        **more,
    }
    post.start()
    try:
        yield post
    finally:
        post.stop()


@define(eq=False)
class Gate:
    """Stands before a server; connections go through it, and break when it is told."""

    target: int
    port: int = 0
    attempts: int = 0
    open: bool = True
    cut_after: int | None = None
    """Bytes of the server after which every connection breaks."""
    _streams: list[tuple[trio.SocketStream, trio.SocketStream]] = field(factory=list)
    _speaking: trio.Lock = field(factory=trio.Lock)
    """Held while something is sent to a client."""
    _flows: trio.Event = field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self._flows.set()

    async def serve(self, near: trio.SocketStream) -> None:
        self.attempts += 1
        if not self.open:
            await trio.aclose_forcefully(near)
            return
        try:
            far = await trio.open_tcp_stream("127.0.0.1", self.target)
        except OSError:
            await trio.aclose_forcefully(near)
            return
        pair = (near, far)
        self._streams.append(pair)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, near, far, nursery.cancel_scope)
                nursery.start_soon(self._pump, far, near, nursery.cancel_scope)
        finally:
            self._streams.remove(pair)
            for stream in pair:
                stream.socket.close()  # at once: a cancelled wait would leave the other one open

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        from_server = any(source is far for _, far in self._streams)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await self._flows.wait()
                if from_server and self.cut_after is not None:
                    self.cut_after -= len(data)
                    if self.cut_after <= 0:
                        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                            await sink.send_all(data[: len(data) + self.cut_after])
                        self.cut_after = None
                        break
                async with self._speaking if from_server else nullcontext():
                    await sink.send_all(data)
        scope.cancel()

    async def say(self, data: bytes) -> None:
        """To every client, as if the server had said it."""
        for near, _ in list(self._streams):
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.WouldBlock):
                self._speaking.acquire_nowait()  # where the server is just speaking itself, there is no place for more
                try:
                    await near.send_all(data)
                finally:
                    self._speaking.release()

    async def drop(self) -> None:
        for pair in list(self._streams):
            for stream in pair:
                await trio.aclose_forcefully(stream)

    async def away(self) -> None:
        self.open = False
        await self.drop()

    def hang(self) -> None:
        self._flows = trio.Event()

    def back(self) -> None:
        self.open = True
        self._flows.set()


@asynccontextmanager
async def gated(target: int) -> AsyncIterator[Gate]:
    gate = Gate(target)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        gate.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, gate.serve, listeners)
        try:
            yield gate
        finally:
            nursery.cancel_scope.cancel()
