"""The Bot API over HTTP: one call, what can become of it, and a token that nobody sees.

The token is a part of each address, and addresses stand in the HTTP library's log and errors. So requests are made
without it, and it is put in below the library's log, by `_Tokened`; errors are made anew from their class alone.
https://core.telegram.org/bots/api#making-requests
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx2
import trio
from attrs import define, field, frozen

from fairlead import Secret

__all__ = ["Api", "ApiError", "Refused", "Unreached", "Unsure", "Upload"]

CONNECT_SECONDS = 10.0
CALL_SECONDS = 30.0
DOWNLOAD_SECONDS = 60.0
MAX_BODY_BYTES = 32 * 2**20
"""One answer of the API: at most 100 updates."""
SHOWN = 300
"""Characters of the server's own words that are kept."""


@define(eq=False, slots=False)
class ApiError(Exception):
    """A call that gave no result."""

    problem: str

    def __str__(self) -> str:
        return self.problem


@define(eq=False, slots=False)
class Refused(ApiError):
    """Telegram has answered no: surely nothing was done."""

    code: int = 400
    retry_after: float | None = None
    """Seconds that Telegram asks for (429)."""
    moved_to: int | None = None
    """The group is a supergroup now, of this number."""


class Unreached(ApiError):
    """There was no connection: surely nothing was done."""


class Unsure(ApiError):
    """The request went out and no answer came that says what became of it."""


@frozen
class Upload:
    """A file of a request."""

    name: str
    data: bytes
    media_type: str


@frozen
class _Tokened(httpx2.AsyncBaseTransport):
    """Puts the token into the address, where only the connection sees it."""

    _token: Secret
    _inner: httpx2.AsyncHTTPTransport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        before, _, name = request.url.raw_path.decode("ascii").partition(_HERE)
        kind = "file/" if name.startswith("file/") else ""
        raw = f"{before}/{kind}bot{self._token.reveal()}/{name.removeprefix('file/')}"
        inner = httpx2.Request(
            request.method,
            request.url.copy_with(raw_path=raw.encode("ascii")),
            headers=request.headers,
            stream=request.stream,
            extensions=request.extensions,
        )
        return await self._inner.handle_async_request(inner)

    async def aclose(self) -> None:
        await self._inner.aclose()


_HERE = "/bot-token/"
"""Stands in addresses where the token goes."""


@define(eq=False)
class Api:
    """One bot's connections."""

    base: str
    token: Secret = field(repr=False)
    call_seconds: float = CALL_SECONDS
    """For one call, from its first byte to the end of the answer; longer for those that wait for news."""
    _client: httpx2.AsyncClient = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        # Without https there is nothing to verify, and reading the authorities takes 100 ms.
        transport = httpx2.AsyncHTTPTransport(verify=self.base.startswith("https:"))
        timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS)
        # Compressed answers could be larger than what is counted here.
        headers = {"User-Agent": "fairlead-telegram", "Accept-Encoding": "identity"}
        self._client = httpx2.AsyncClient(
            transport=_Tokened(self.token, transport), timeout=timeout, headers=headers, trust_env=False
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        files: Mapping[str, Upload] | None = None,
        *,
        seconds: float = 0.0,
    ) -> Any:
        """The result of one method. `Refused`, `Unreached`, `Unsure`. `seconds`: what it may wait beside the usual."""
        values = {name: value for name, value in (params or {}).items() if value is not None}
        body: dict[str, Any] = {"json": values}
        if files:
            texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
            body = {
                "data": texts,
                "files": {name: (each.name, each.data, each.media_type) for name, each in files.items()},
            }
        code, raw = await self._exchange("POST", f"{self.base}{_HERE}{method}", body, MAX_BODY_BYTES, seconds)
        return self._judge(method, code, raw)

    async def download(self, path: str, max_bytes: int) -> bytes:
        """A file that `getFile` has named. `Refused` also where it is larger than `max_bytes`."""
        url = f"{self.base}{_HERE}file/{quote(path)}"
        code, raw = await self._exchange("GET", url, {}, max_bytes, DOWNLOAD_SECONDS - self.call_seconds)
        if code == _TOO_LARGE:
            raise Refused(f"the file has more than {max_bytes} bytes", code=code)
        if code >= _SERVER_FAULT:
            raise Unreached(f"the file server answered {code}")
        if code != _FINE:
            raise Refused(f"the file server answered {code}", code=code)
        return raw

    async def _exchange(
        self, method: str, url: str, body: dict[str, Any], max_bytes: int, seconds: float
    ) -> tuple[int, bytes]:
        """Status and body; 413 for a body that is too long."""
        fault: ApiError
        try:
            with trio.fail_after(self.call_seconds + seconds):
                async with self._client.stream(method, url, **body) as response:
                    return await _read(response, max_bytes)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            fault = Unreached(f"no connection to {self._host} ({type(error).__name__})")
        except httpx2.HTTPError as error:
            fault = Unsure(f"the connection to {self._host} was lost ({type(error).__name__})")
        except trio.TooSlowError:
            fault = Unsure(f"{self._host} did not answer within {self.call_seconds + seconds:.0f} s")
        raise fault  # here, so that it carries no error of the library along

    @property
    def _host(self) -> str:
        return httpx2.URL(self.base).host

    def _judge(self, method: str, code: int, raw: bytes) -> Any:
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and value.get("ok") is True and code == _FINE:
            return value.get("result")
        told = value if isinstance(value, dict) else {}
        words = str(told.get("description") or f"HTTP {code}")[:SHOWN].replace(self.token.reveal(), "TOKEN")
        if code >= _SERVER_FAULT or code == _FINE:
            raise Unsure(f"{method}: {words}" if code != _FINE else f"{method}: the answer cannot be read")
        more = told.get("parameters")
        more = more if isinstance(more, dict) else {}
        raise Refused(
            f"{method}: {words}", code, _number(more.get("retry_after")), _whole(more.get("migrate_to_chat_id"))
        )


async def _read(response: httpx2.Response, max_bytes: int) -> tuple[int, bytes]:
    raw, chunks = bytearray(), response.aiter_raw()
    async for chunk in chunks:
        raw += chunk
        if len(raw) > max_bytes:
            break
    else:
        return response.status_code, bytes(raw)
    # httpx2 2.16 forgets an inner generator when it is left early; on a closed connection all of them end at once.
    await response.aclose()
    with suppress(Exception):  # what a closed connection raises is no news
        async for _ in chunks:
            pass
    return _TOO_LARGE, b""


_FINE, _TOO_LARGE, _SERVER_FAULT = 200, 413, 500
_LONGEST_WAIT = 1_000_000


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= _LONGEST_WAIT else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
