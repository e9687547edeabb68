"""HTTP out: one answer, signed, tried again within bounds."""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import trio
from attrs import define, field, frozen

from fairlead import Delivery, Outbound
from fairlead_webhook._body import dump, render
from fairlead_webhook._options import Options, foreign_url_fault, is_public
from fairlead_webhook._signing import SIGNATURE, TIMESTAMP, sign

__all__ = ["Poster"]

TRY_SECONDS = 15.0
"""For one try, from its first byte to the end of the response."""
CONNECT_SECONDS = 5.0
FIRST_PAUSE = 0.5
"""Seconds before the second try; doubled for each further one, less up to half by chance."""
LONGEST_PAUSE = 8.0
LATER_SECONDS = 60.0
"""After which the core may come again, where the receiver was not there and named no time."""
RESPONSE_BYTES = 65_536
"""Read of a response, so that its connection can be used again; a longer one is not read."""

_NOT_NOW = {408, 425, 429, 503}
"""The receiver has not taken it and may later (RFC 9110, RFC 8470, RFC 6585)."""


@frozen
class _Try:
    status: str
    """``sent``, ``ambiguous`` or ``failed``, as in `Delivery`."""
    reason: str = ""
    again: bool = False
    after: float = 0.0
    """Seconds that the receiver asks for."""


@define(eq=False)
class Poster:
    """Posts answers. `clock` gives Unix seconds, `chance` numbers from 0 to 1."""

    options: Options
    clock: Callable[[], float]
    chance: Callable[[], float] = random.random
    _client: httpx2.AsyncClient = field(init=False)

    def __attrs_post_init__(self) -> None:
        # Not the environment's proxies: they would choose the address that was looked at before.
        timeout = httpx2.Timeout(TRY_SECONDS, connect=CONNECT_SECONDS)
        self._client = httpx2.AsyncClient(timeout=timeout, trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def deliver(self, outbound: Outbound) -> Delivery:
        """Post an answer to its address's account, or to the configured URL.

        A connection that is lost after the request was written leaves open whether it arrived; so does a 5xx that says
        nothing else. Both are tried again, since the receiver knows the `Idempotency-Key`.
        """
        own = outbound.address.account
        url = own or self.options.reply_url
        if not url:
            return Delivery("failed", reason="nobody waits for the answer, and no reply_url is configured")
        fault = foreign_url_fault(own, self.options) if own else ""
        if fault:
            return Delivery("failed", reason=fault)
        return await self._persist(url, outbound.id, dump(render(outbound)), foreign=bool(own))

    async def _persist(self, url: str, key: str, body: bytes, *, foreign: bool) -> Delivery:
        deadline, unsure = trio.current_time() + self.options.retry_seconds, ""
        for attempt in itertools.count():
            tried = await self._try(url, key, body, attempt if foreign else None)
            if tried.status == "sent":
                return Delivery("sent", external_id=key)
            if tried.status == "ambiguous":
                unsure = tried.reason
            pause = max(tried.after, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * (1 - self.chance() / 2))
            if not tried.again or trio.current_time() + pause > deadline:
                break
            await trio.sleep(pause)
        if unsure:
            return Delivery("ambiguous", reason=unsure)
        return Delivery(
            "failed", reason=tried.reason, retry_after=(tried.after or LATER_SECONDS) if tried.again else None
        )

    async def _try(self, url: str, key: str, body: bytes, attempt: int | None) -> _Try:
        """One request. `attempt` is None for the operator's own URL, which may lead anywhere."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": "fairlead-webhook"}
        headers[TIMESTAMP] = str(int(self.clock()))
        headers[SIGNATURE] = sign(self.options.secrets[0].reveal(), headers[TIMESTAMP], body)
        target, extensions = url, dict[str, Any]()
        if attempt is not None and not self.options.reply_private:
            pinned = await _pin(httpx2.URL(url), attempt)
            if isinstance(pinned, _Try):
                return pinned
            target, extensions, more = pinned
            headers.update(more)
        with trio.move_on_after(TRY_SECONDS):
            return await self._request(target, headers, body, extensions)
        return _Try("ambiguous", f"the receiver did not answer within {TRY_SECONDS:.0f} s", again=True)

    async def _request(self, url: str, headers: Mapping[str, str], body: bytes, extensions: dict[str, Any]) -> _Try:
        try:
            async with self._client.stream(
                "POST", url, content=body, headers=headers, extensions=extensions
            ) as response:
                with suppress(httpx2.HTTPError):  # the status alone counts
                    await _drain(response)
                return _judge(response, self.clock())
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            return _Try("failed", f"no connection: {_named(error)}", again=True)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
            return _Try("failed", f"the request cannot be made: {_named(error)}")
        except httpx2.HTTPError as error:
            return _Try(
                "ambiguous", f"the connection was lost before the receiver answered: {_named(error)}", again=True
            )


async def _pin(url: httpx2.URL, attempt: int) -> _Try | tuple[str, dict[str, Any], dict[str, str]]:
    """The URL with a public address in the place of its host, the host's name going into TLS and the header `Host`.

    Looked up once and used as found: a name that leads to a public address here, and to a private one in the HTTP
    client's own lookup, gains nothing.
    """
    found: list[Any] = []
    with trio.move_on_after(CONNECT_SECONDS):
        try:
            found = await trio.socket.getaddrinfo(url.host, url.port or 443, type=socket.SOCK_STREAM)
        except OSError as error:
            return _Try("failed", f"{url.host!r} has no address: {error}", again=True)
    if not found:
        return _Try("failed", f"the lookup of {url.host!r} took more than {CONNECT_SECONDS:.0f} s", again=True)
    addresses = [str(entry[4][0]) for entry in found]
    if not all(map(is_public, addresses)):
        return _Try("failed", f"{url.host!r} leads to an address that is not public; `reply_private = true` allows it")
    # Its own connection: one that another host of the same address opened has that host's certificate.
    headers = {"Host": url.netloc.decode("ascii"), "Connection": "close"}
    return str(url.copy_with(host=addresses[attempt % len(addresses)])), {"sni_hostname": url.host}, headers


async def _drain(response: httpx2.Response) -> None:
    """Read a small body to its end; what is large or of unknown length goes with its connection."""
    length = response.headers.get("content-length", "")
    if length.isdigit() and int(length) <= RESPONSE_BYTES:
        await response.aread()


def _judge(response: httpx2.Response, now: float) -> _Try:
    code = response.status_code
    reason = f"the receiver answered {code}"
    if response.is_success:
        return _Try("sent")
    if code in _NOT_NOW:
        return _Try("failed", reason, again=True, after=_seconds(response.headers.get("retry-after", ""), now))
    if response.is_server_error:
        return _Try("ambiguous", reason, again=True, after=_seconds(response.headers.get("retry-after", ""), now))
    if response.is_redirect:
        reason += "; configure the URL that it leads to"
    return _Try("failed", reason)


def _seconds(value: str, now: float) -> float:
    """Retry-After (RFC 9110, 10.2.3): seconds or a date; 0 where it is neither."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return 0.0


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
