"""One model server over HTTP: the pool of connections, bounded reading, server-sent events, and what can go wrong.

`fairlead_openai` and `fairlead_anthropic` hold the same copy of this file, since no plugin imports another one;
`tests/providers/test_copies.py` keeps the two alike.
"""

from __future__ import annotations

import email.utils
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio
from attrs import frozen

from fairlead import Secret
from fairlead.errors import (
    AuthenticationFailed,
    BadRequest,
    BrokenStream,
    ConnectionFailed,
    ProviderError,
    ProviderTimeout,
)

if TYPE_CHECKING:
    import httpx2

MAX_LINE_BYTES = 4 * 2**20
"""One line of an event stream, which is one piece of an answer."""
MAX_BODY_BYTES = 64 * 2**20
"""One whole reply."""
MAX_ERROR_BYTES = 64 * 2**10
MAX_TEXT = 400
"""Characters of a server's own words that are quoted in an error."""
CLOSE_SECONDS = 2.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Unreadable(Exception):
    """The server's reply is no protocol that we know; its text says what was found."""


@frozen
class Asked:
    """Who was asked for what: the words that every error of one request begins with."""

    provider: str
    host: str
    model: str = ""
    key: str = ""
    """The secret that was sent, so that a server which repeats it cannot make us print it."""

    def fields(self, status: int | None = None) -> dict[str, Any]:
        return {"provider": self.provider, "model": self.model, "status": status}

    def words(self, text: str) -> str:
        """The sentence of an error, with its subject and without the key."""
        model = f" (model {self.model!r})" if self.model else ""
        return f"provider {self.provider!r} at {self.host}{model}: {self.clean(text)}"

    def clean(self, text: str) -> str:
        return text.replace(self.key, "***") if self.key else text


@frozen
class Server:
    """Where a provider's requests go, and how long they may take."""

    base_url: str
    connect_seconds: float = 10.0
    read_seconds: float = 300.0
    """Between two pieces of an answer; local servers load a model before the first one."""

    @property
    def host(self) -> str:
        parts = urlsplit(self.base_url)
        return f"{parts.hostname or '?'}:{parts.port}" if parts.port else parts.hostname or "?"

    @property
    def way_out(self) -> str:
        """The base of requests: the server's own, or where this plugin runs isolated, that of its way out.

        There the host makes the connection, and puts the key in the place of its handle.
        """
        egress = os.environ.get("FAIRLEAD_EGRESS", "")
        scheme, _, rest = self.base_url.partition("://")
        return f"{egress}/{scheme}/{rest}" if egress.startswith("http://127.0.0.1:") else self.base_url

    def client(self) -> httpx2.AsyncClient:
        """A pool without a limit of its own: the lanes of the core set how much runs at once."""
        import httpx2  # noqa: PLC0415  # 100 ms that listing the plugins must not pay for

        base_url = self.way_out
        return httpx2.AsyncClient(
            base_url=base_url.rstrip("/") + "/",
            timeout=httpx2.Timeout(self.read_seconds, connect=self.connect_seconds),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30.0),
            # Without https there is nothing to verify, and reading the authorities takes 100 ms.
            verify=base_url.startswith("https:"),
            # A server on this machine is never reached through a proxy.
            trust_env=urlsplit(base_url).hostname not in LOOPBACK,
        )


@frozen
class Key:
    """A credential as it is sent."""

    name: str
    value: str = ""

    @classmethod
    def read(cls, options: Mapping[str, Any], credential: str, asked: Asked) -> Key:
        """The key of that name out of `api_keys`, or the only one.

        `AuthenticationFailed`: there is none of that name, or no header can carry it.
        """
        named = {name: reveal(key) for name, key in options.get("api_keys", {}).items()}
        plain = reveal(options.get("api_key", ""))
        if credential and credential not in named:
            raise AuthenticationFailed(
                asked.words(f"it has no credential {credential!r}; it has {sorted(named) or 'no named ones'}"),
                next_step=f'add {credential} = {{ env = "NAME" }} to [providers.{asked.provider}.api_keys]',
                **asked.fields(),
            )
        value = named[credential] if credential else plain or next(iter(named.values()), "")
        if not (value.isascii() and value.isprintable()):
            raise AuthenticationFailed(
                asked.words("the API key has a character that an HTTP header cannot carry"),
                next_step="copy the key again; it is one line of letters, digits and dashes",
                **asked.fields(),
            )
        return cls(credential, value)


def credentials(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the keys, in the order of the configuration: that without a name, where there is one, is first."""
    named = tuple(options.get("api_keys", {}))
    return named if named and not reveal(options.get("api_key", "")) else ("", *named)


def reveal(key: Secret | str) -> str:
    """The text of a key; a plain string is what a host writes that builds its settings in code."""
    return (key.reveal() if isinstance(key, Secret) else key).strip()


# -- reading


class EventLines:
    """Server-sent events out of bytes (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Takes LF and CRLF, as every model server sends; ids and retry times have no meaning here.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that is complete now. `Unreadable`: a line is too long."""
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE_BYTES:
            raise Unreadable(f"found a line of more than {MAX_LINE_BYTES} bytes")
        found = []
        for line in lines:
            line = line.removesuffix(b"\r")  # noqa: PLW2901  # the same line, without its end
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                found.append(b"\n".join(self._data))
                self._data.clear()
        return found

    def end(self) -> list[bytes]:
        """What servers leave without the empty line that ends an event."""
        return self.feed(b"\n\n")


@asynccontextmanager
async def chunks_of(response: httpx2.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """The bytes of a reply. At the end of the block nothing of it is left open, however far it was read.

    When a reader stops early, httpx2 2.16 forgets to close an inner generator (`AsyncResponseStream.__aiter__`), which
    trio reports as a leak. On a closed connection the rest of the iteration ends at once, and with it all generators.
    """
    chunks = response.aiter_bytes()
    try:
        yield chunks
    finally:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await response.aclose()
            with suppress(Exception):  # what a closed connection raises is no news
                async for _ in chunks:
                    pass


async def read_body(response: httpx2.Response, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """A whole reply. `Unreadable`: it is too long."""
    body = bytearray()
    async with chunks_of(response) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > max_bytes:
                raise Unreadable(f"found a reply of more than {max_bytes} bytes")
    return bytes(body)


async def read_error(response: httpx2.Response) -> bytes:
    """The beginning of the body of a refusal: the rest of an error page says nothing more."""
    try:
        return await read_body(response, MAX_ERROR_BYTES)
    except Unreadable:
        return b""


# -- what can go wrong below the protocol


@asynccontextmanager
async def transport(asked: Asked, server: Server, *, began: Any = bool) -> AsyncIterator[None]:
    """Turn what the HTTP client raises into errors of the tree; `began()` says whether pieces were already emitted."""
    import httpx2  # noqa: PLC0415  # loaded by `Server.client` already

    try:
        yield
    except httpx2.TimeoutException as error:
        raise _timeout(asked, server, error) from error
    except httpx2.ConnectError as error:
        raise ConnectionFailed(
            asked.words(f"no connection: {error}"),
            next_step=f"check that the server runs and that base_url is right: {asked.host}",
            **asked.fields(),
        ) from error
    except (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol):
        # The cause is left out: its text repeats the offending header.
        raise BadRequest(
            asked.words("the HTTP client refuses the request: base_url or a header is malformed"),
            next_step=f"check base_url and headers of [providers.{asked.provider}]",
            **asked.fields(),
        ) from None
    except (httpx2.RequestError, Unreadable) as error:
        raise broken(asked, str(error) or "the connection was reset", began=began()) from error


def broken(asked: Asked, text: str, *, began: bool) -> ProviderError:
    """The error for a reply that ends too early or cannot be read: it depends on whether somebody saw a part of it."""
    if began:
        return BrokenStream(asked.words(f"the answer broke off: {text}"), **asked.fields())
    return ConnectionFailed(
        asked.words(f"no answer: {text}"),
        next_step=f"check that base_url leads to a model server: {asked.host}",
        **asked.fields(),
    )


def _timeout(asked: Asked, server: Server, error: httpx2.TimeoutException) -> ProviderTimeout:
    import httpx2  # noqa: PLC0415  # see above

    connecting = isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout)
    seconds, key = (server.connect_seconds, "connect") if connecting else (server.read_seconds, "read")
    what = "no connection" if connecting else "no piece of the answer"
    return ProviderTimeout(
        asked.words(f"{what} within {seconds:g} s"),
        next_step=f"raise timeout.{key} of [providers.{asked.provider}], or choose another model",
        **asked.fields(),
    )


# -- when to come back


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds out of ``retry-after-ms`` or ``Retry-After`` (RFC 9110, 10.2.3: seconds or a date)."""
    if (seconds := number(headers.get("retry-after-ms"))) is not None:
        return seconds / 1000
    value = headers.get("retry-after")
    if (seconds := number(value)) is not None:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value or "").timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def number(text: str | None) -> float | None:
    """A plain number that is not negative; None for anything else, ``nan`` and ``inf`` included."""
    return float(text) if text is not None and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text.strip()) else None
