"""The webhook as the core sees it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from fairlead import Capabilities, Channel, Delivery, Draft, Finding, Inbox, Outbound
from fairlead.errors import FairleadError
from fairlead_webhook._desk import Desk
from fairlead_webhook._options import Options, is_loopback

if TYPE_CHECKING:
    from fairlead_webhook._post import Poster
    from fairlead_webhook._server import Bridge

__all__ = ["WebhookChannel"]

LAST_WAIT = 1.5
"""Seconds that waiting requests still have for their answer when the channel stops; below the server's own grace."""
CONNECT_SECONDS = 5.0


class WebhookChannel(Channel):
    """Messages come as signed POST requests; answers go to who waits, or as signed POST requests to a URL."""

    capabilities = Capabilities(
        markup="markdown",
        streaming=True,
        threads=True,
        media=frozenset({"application/*", "audio/*", "image/*", "text/*", "video/*"}),
        idempotency=True,  # receivers are given the header Idempotency-Key
    )

    def __init__(self, options: Options) -> None:
        self.options = options
        self.name = options.name
        self.clock: Callable[[], float] = time.time
        """Unix seconds, for the signatures."""
        self._poster: Poster | None = None
        self._desk: Desk | None = None
        self.url = ""
        """Where it listens; empty while it does not."""

    async def open(self) -> None:
        """Import the HTTP libraries and make the client."""
        # 0.3 s of imports together that only an enabled webhook pays
        from fairlead_webhook import _routes  # noqa: F401, PLC0415  # see above
        from fairlead_webhook._post import Poster  # noqa: PLC0415  # see above

        self._poster = Poster(self.options, self.clock)

    async def close(self) -> None:
        """Close the connections to receivers."""
        if self._poster is not None:
            await self._poster.close()

    async def run(self, inbox: Inbox) -> None:
        """Serve until cancelled. `FairleadError`: the address is taken, or the server's thread has ended by itself."""
        from fairlead_webhook._server import Bridge  # noqa: PLC0415  # open() has paid for it

        failure: FairleadError | None = None
        async with trio.open_nursery() as calls:
            failure = await self._serve(inbox, Bridge(trio.lowlevel.current_trio_token(), calls))
        if failure is not None:  # outside of the nursery, which would wrap it in a group
            raise failure

    async def _serve(self, inbox: Inbox, bridge: Bridge) -> FairleadError | None:
        from fairlead_webhook._routes import build_app  # noqa: PLC0415  # the same
        from fairlead_webhook._server import HTTPServer  # noqa: PLC0415  # the same

        try:
            listener = await self._bind()
        except FairleadError as error:
            return error
        desk = self._desk = Desk(inbox)
        connections = 4 * self.options.max_requests + 100  # idle ones and those of /health beside the messages'
        server = HTTPServer(bridge, listener, build_app(self.options, bridge, desk, self.clock), connections)
        try:
            await server.start()
            self.url = _url(listener, self.options.path)
            inbox.ready(self.url)
            await server.wait()
            return server.failure()
        except FairleadError as error:
            return error
        finally:
            self.url = ""
            desk.close(LAST_WAIT)
            with trio.CancelScope(shield=True):
                await server.stop()

    async def _bind(self) -> socket.socket:
        host, port = self.options.host, self.options.port
        listener: socket.socket | None = None
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = found[0]
            listener = socket.socket(family, kind, protocol)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError as error:
            if listener is not None:
                listener.close()
            raise FairleadError(
                f"the webhook {self.name!r} cannot listen on {host}:{port}: {error}",
                next_step=f"end what uses it (ss -ltnp), or set another `port` in [channels.{self.name}]",
            ) from error
        return listener

    async def send(self, outbound: Outbound) -> Delivery:
        """To the request that waits for it, else to the URL of its message, else to the configured one."""
        if self._desk is not None:
            delivery = await self._desk.hand_out(outbound)
            if delivery is not None:
                return delivery
        if self._poster is None:
            return Delivery("failed", reason="the channel is not open", retry_after=1.0)
        return await self._poster.deliver(outbound)

    async def preview(self, draft: Draft) -> None:
        """To the request that waits and takes a stream."""
        if self._desk is not None:
            self._desk.show(draft)

    async def check(self) -> Sequence[Finding]:
        """The place where it listens, and the receiver of its answers."""
        findings = [await self._check_address()]
        if not is_loopback(self.options.host):
            detail = (
                "plain HTTP, open to the network: whoever is on the way can read it; put a server with TLS before it"
            )
            findings.append(Finding("transport", ok=True, detail=detail))
        findings.append(await self._check_receiver())
        return findings

    async def _check_address(self) -> Finding:
        subject = "address"
        if self.url:
            return Finding(subject, ok=True, detail=f"listens on {self.url}")
        try:
            (await self._bind()).close()
        except FairleadError as error:
            return Finding(subject, ok=False, detail=error.problem, next_step=error.next_step)
        return Finding(subject, ok=True, detail=f"{self.options.host}:{self.options.port} is free")

    async def _check_receiver(self) -> Finding:
        import httpx2  # noqa: PLC0415  # open() has paid for it

        subject = "reply_url"
        if not self.options.reply_url:
            return Finding(
                subject, ok=True, detail="none: answers reach only senders who wait, or name a URL of their own"
            )
        url = httpx2.URL(self.options.reply_url)
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            with trio.fail_after(CONNECT_SECONDS):
                await (await trio.open_tcp_stream(url.host, port)).aclose()
        except (OSError, trio.TooSlowError) as error:
            found = f"{url.host}:{port} does not take connections: {error}"
            return Finding(subject, ok=False, detail=found, next_step=f"curl -v {self.options.reply_url}")
        return Finding(subject, ok=True, detail=f"{url.host}:{port} takes connections")


def _url(listener: socket.socket, path: str) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}{path}" if ":" in host else f"http://{host}:{port}{path}"
