"""One request to the homeserver: bounded in time and size, with every failure sorted into one of three."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx2
import trio
from attrs import define, field

from fairlead.errors import FairleadError
from fairlead_matrix._json import mapped, parse, texted

__all__ = ["Api", "Broken", "Caller", "Refused", "TooLarge", "Unreachable", "path_of"]

REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 10.0
CLOSE_SECONDS = 2.0
MOST_BYTES = 4_000_000
"""Of one answer, unless the caller says otherwise."""
UNNAMED_PAUSE = 5.0
"""Seconds, where the server limits the rate and does not say for how long."""
LONGEST_PAUSE = 3600.0

TOO_MANY = 429


@define(eq=False, slots=False)
class Refused(FairleadError):
    """The homeserver said no; it has done nothing."""

    status: int = field(default=0, kw_only=True)
    errcode: str = field(default="", kw_only=True)
    """``M_FORBIDDEN`` and the like; empty where something before the homeserver answered."""
    retry_after: float | None = field(default=None, kw_only=True)
    """Seconds, where the rate is limited."""
    soft: bool = field(default=False, kw_only=True)
    """Of M_UNKNOWN_TOKEN: the device is still there, and only its token has run out."""


class Unreachable(FairleadError):
    """No connection: the homeserver has surely got nothing. Not `Broken`, where it may have."""


class Broken(FairleadError):
    """The connection or the server broke off, or what came is no answer: the request may have had its effect."""


class TooLarge(Broken):
    """The answer is larger than is taken."""


def path_of(*parts: str, root: str = "client/v3") -> str:
    """A path of the API, each part of it quoted."""
    return "/".join(["/_matrix", root, *(quote(part, safe="") for part in parts)])


class Caller:
    """Whoever can make requests, with JSON in both directions."""

    exchange: Callable[..., Awaitable[tuple[bytes, str]]]
    """As `Api.exchange`."""

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        kind: str = "application/json",
        **more: Any,
    ) -> Mapping[str, Any]:
        """The JSON object that is the answer; `more` as for `exchange`. `Refused`, `Unreachable`, `Broken`."""
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": kind} if content is not None else {}
        data, _ = await self.exchange(method, path, content, headers=headers, **more)
        answer = parse(data)
        if not isinstance(answer, dict):
            raise Broken(f"{method} {path}: found {data[:80]!r}, expected a JSON object")
        return answer


def _base(homeserver: str) -> str:
    """Where requests go: the homeserver, or where this plugin runs isolated, the host's way out to it."""
    egress = os.environ.get("FAIRLEAD_EGRESS", "")
    return f"{egress}/{homeserver.replace('://', '/', 1)}" if egress.startswith("http://127.0.0.1:") else homeserver


@define(eq=False)
class Api(Caller):
    """Requests to one homeserver. Several at a time are fine."""

    homeserver: str
    token: str = ""
    """Sent with each request, where there is one."""
    _client: httpx2.AsyncClient = field(init=False)

    def __attrs_post_init__(self) -> None:
        timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)  # each request has a deadline of its own
        # `identity`: the size of what comes is then the size that was counted.
        headers = {"User-Agent": "fairlead-matrix", "Accept-Encoding": "identity"}
        self._client = httpx2.AsyncClient(timeout=timeout, trust_env=False, headers=headers)

    async def close(self) -> None:
        await self._client.aclose()

    async def exchange(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = REQUEST_SECONDS,
        most: int = MOST_BYTES,
        follow: bool = False,
    ) -> tuple[bytes, str]:
        """The body of a 2xx answer, at most `most` bytes, and its media type. `Refused`, `Unreachable`, `Broken`."""
        sent = {**(headers or {}), **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        request = self._client.build_request(
            method, _base(self.homeserver) + path, content=content, params=params, headers=sent
        )
        try:
            with trio.fail_after(seconds):
                response = await self._client.send(request, stream=True, follow_redirects=follow)
                data = await _read(response, most)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise Unreachable(f"no connection to {self.homeserver}: {_said(error)}") from error
        except trio.TooSlowError:
            raise Broken(f"{method} {path}: no answer within {seconds:g} s") from None
        except httpx2.HTTPError as error:
            raise Broken(f"{method} {path}: the connection was lost: {_said(error)}") from error
        if response.is_success:
            return data, response.headers.get("content-type", "").partition(";")[0].strip().lower()
        raise _fault(f"{method} {path}", response, data)


async def _read(response: httpx2.Response, most: int) -> bytes:
    """The body; at the end nothing of the answer is left open, however far it was read."""
    data = bytearray()
    pieces = response.aiter_raw()
    try:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise Broken("the answer is compressed, though that was not asked for")
        async for piece in pieces:
            data += piece
            if len(data) > most:
                raise TooLarge(f"the answer is larger than {most} bytes")
    finally:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await response.aclose()
            # When a reader stops early, httpx2 2.16 leaves an inner generator open, which trio reports as a leak. On a
            # closed connection the rest of the iteration ends at once, and with it all generators.
            with suppress(Exception):
                async for _ in pieces:
                    pass
    return bytes(data)


def _fault(what: str, response: httpx2.Response, data: bytes) -> FairleadError:
    answer, status = mapped(parse(data)), response.status_code
    errcode, said = texted(answer, "errcode"), texted(answer, "error")
    problem = f"{what}: the server answered {status} {errcode} {said[:300]}".rstrip()
    if response.is_server_error:
        return Broken(problem)
    limited = status == TOO_MANY or errcode == "M_LIMIT_EXCEEDED"
    pause = _pause(answer.get("retry_after_ms"), response.headers.get("retry-after", "")) if limited else None
    soft = answer.get("soft_logout") is True
    return Refused(problem, status=status, errcode=errcode, retry_after=pause, soft=soft)


def _pause(millis: Any, header: str) -> float:
    """The seconds to wait: the header counts, since the field of the body is deprecated in its favour."""
    pause = UNNAMED_PAUSE
    if header.isascii() and header.isdigit():
        pause = float(header[:9])
    elif isinstance(millis, int | float) and millis == millis:  # noqa: PLR0124  # NaN is JSON to Python's reader
        pause = millis / 1000
    return min(max(pause, 0.1), LONGEST_PAUSE)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
