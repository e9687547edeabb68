"""The provider: Chat Completions of OpenAI, or of any server that speaks its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from fairlead import Finding, ModelAnswer, ModelInfo, ModelRequest, Provider, Settings
from fairlead.errors import AuthenticationFailed, ProviderError
from fairlead.types import Emit
from fairlead_openai._encoded import clean
from fairlead_openai._errors import refusal, refusal_inside
from fairlead_openai._http import (
    MAX_BODY_BYTES,
    MAX_TEXT,
    Asked,
    EventLines,
    Key,
    Server,
    Unreadable,
    broken,
    chunks_of,
    credentials,
    read_body,
    read_error,
    transport,
)
from fairlead_openai._models import KNOWN, Models, listed
from fairlead_openai._stream import Answer, ServerError, parse_object
from fairlead_openai._wire import Wire

if TYPE_CHECKING:
    import httpx2

__all__ = ["OpenAIProvider"]

OFFICIAL = "https://api.openai.com/v1"
HEADERS = {
    "content-type": "application/json",
    "accept": "text/event-stream, application/json",
    # A stream that is compressed arrives late, and its size is not that of what was sent.
    "accept-encoding": "identity",
}
DRAIN_SECONDS = 0.5
"""How long to wait after an answer for the end of its reply: only then can its connection be used again."""
TAIL_SECONDS = 5.0
"""How long to wait for the usage, and for an end that some servers never send."""
CHECK_SECONDS = 8.0


class OpenAIProvider(Provider):
    """Chat Completions with streaming, tools, images, structured answers and typed errors."""

    def __init__(self, settings: Settings) -> None:
        options = settings.options
        self.name = settings.name
        self._options = options
        self.credentials = credentials(options)
        self._official = options.get("base_url", OFFICIAL).rstrip("/") == OFFICIAL
        timeout = options.get("timeout", {})
        self._server = Server(
            options.get("base_url", OFFICIAL), timeout.get("connect", 10.0), timeout.get("read", 300.0)
        )
        self._models = Models(KNOWN if self._official else (), options.get("models", ()))
        self._asked_for_models = False
        self._wire = Wire(official=self._official, stream_usage=options.get("stream_usage", True))
        self._client: httpx2.AsyncClient | None = None

    async def open(self) -> None:
        """Make the pool of connections; nothing is sent."""
        self._client = self._server.client()

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def models(self) -> Sequence[ModelInfo]:
        """OpenAI's well-known ones and the configured ones; another server is asked once for its list.

        Raises `ProviderError` where that server cannot be asked and nothing is configured.
        """
        if not self._official and not self._asked_for_models:
            try:
                await self._ask_for_models()
            except ProviderError:
                if not self._models.infos:
                    raise
        return self._models.infos

    async def generate(self, request: ModelRequest, emit: Emit) -> ModelAnswer:
        """Ask once; see `Provider.generate`."""
        asked, headers = self._sender(request.model, request.credential)
        answer = Answer(request, emit)
        try:
            async with transport(asked, self._server, began=lambda: answer.began):
                await self._read(asked, headers, self._wire.body(request), answer)
        except ServerError as failure:
            if answer.began:
                raise broken(asked, asked.clean(clean(str(failure.error)))[:MAX_TEXT], began=True) from failure
            raise refusal_inside(asked, failure.error) from failure
        result = answer.result()
        usage = self._models.priced(result.usage, request.model)
        return ModelAnswer(result.parts, result.calls, usage, result.finish, result.model or request.model)

    async def check(self) -> Sequence[Finding]:
        """Whether the server can be reached with the key; it costs nothing."""
        subject = f"providers/{self.name}"
        try:
            with trio.fail_after(CHECK_SECONDS):
                await self._ask_for_models()
        except ProviderError as error:
            return (Finding(subject, ok=False, detail=error.problem, next_step=error.next_step),)
        except trio.TooSlowError:
            detail = f"{self._server.host} did not answer within {CHECK_SECONDS:g} s"
            return (Finding(subject, ok=False, detail=detail, next_step="check base_url and the network"),)
        return (Finding(subject, ok=True, detail=f"{self._server.host} answers"),)

    def _sender(self, model: str, credential: str = "") -> tuple[Asked, dict[str, str]]:
        """Whom to name in errors, and the headers with the key."""
        asked = Asked(self.name, self._server.host, model)
        key = Key.read(self._options, credential, asked)
        headers = dict(HEADERS)
        if key.value:
            headers["authorization"] = f"Bearer {key.value}"
        elif self._official:
            raise AuthenticationFailed(
                asked.words("there is no API key"),
                next_step=f'export OPENAI_API_KEY=... and set api_key = {{ env = "OPENAI_API_KEY" }} '
                f"in [providers.{self.name}]",
                **asked.fields(),
            )
        headers.update((name.lower(), value) for name, value in self._options.get("headers", {}).items())
        return Asked(self.name, self._server.host, model, key.value), headers

    def _pool(self) -> httpx2.AsyncClient:
        if self._client is None:
            raise RuntimeError(f"provider {self.name!r} is used before open() or after close()")
        return self._client

    async def _read(self, asked: Asked, headers: dict[str, str], body: bytes, answer: Answer) -> None:
        """Send the request and feed the reply to the answer until it is complete."""
        async with self._pool().stream("POST", "chat/completions", content=body, headers=headers) as response:
            if not response.is_success:
                raise refusal(asked, response.status_code, response.headers, await read_error(response))
            if response.headers.get("content-type", "").startswith("application/json"):
                await answer.take_whole(await read_body(response))
            else:
                await _read_events(response, answer)
        if not answer.complete:
            raise Unreadable("the stream ended before the answer did")

    async def _ask_for_models(self) -> None:
        asked, headers = self._sender("")
        async with (
            transport(asked, self._server),
            self._pool().stream("GET", "models", headers=headers) as response,
        ):
            if not response.is_success:
                raise refusal(asked, response.status_code, response.headers, await read_error(response))
            found = parse_object(await read_body(response)).get("data")
        entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
        self._asked_for_models = True
        if not self._official:
            self._models.learn(listed(entry) for entry in entries if clean(entry.get("id")))


async def _read_events(response: httpx2.Response, answer: Answer) -> None:
    """Feed a stream of events to the answer.

    After its end the rest of the reply is awaited for a moment and whatever happens there is no fault of the answer.
    """
    import httpx2  # noqa: PLC0415  # loaded by `Server.client` already

    lines, size = EventLines(), 0
    with trio.CancelScope() as drain:
        try:
            async with chunks_of(response) as chunks:
                async for chunk in chunks:
                    size += len(chunk)
                    await _feed(lines.feed(chunk), answer, size)
                    if answer.complete:
                        seconds = DRAIN_SECONDS if answer.done else TAIL_SECONDS
                        drain.deadline = min(drain.deadline, trio.current_time() + seconds)
            await _feed(lines.end(), answer, size)
        except httpx2.TransportError:
            if not answer.complete:
                raise


async def _feed(events: list[bytes], answer: Answer, size: int) -> None:
    if size > MAX_BODY_BYTES:
        raise Unreadable(f"found a reply of more than {MAX_BODY_BYTES} bytes")
    for event in events:
        if not answer.done:
            await answer.take(event)
