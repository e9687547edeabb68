"""A provider of a small protocol, lines of JSON over HTTP, which keeps every promise; and each way to break one.

`LineProvider(url)` is the right one; a second argument names a fault, which one check of the kit finds.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import trio
from attrs import evolve

from fairlead import (
    Delta,
    Finding,
    Image,
    Message,
    ModelAnswer,
    ModelInfo,
    ModelRequest,
    Provider,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from fairlead.errors import (
    AuthenticationFailed,
    BillingFailed,
    BrokenStream,
    ConnectionFailed,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    UnknownModel,
)
from fairlead.testing import ModelAsked, ModelReply, ModelWire
from fairlead.types import Emit

__all__ = ["SECRET", "LineProvider", "LineWire"]

SECRET = "kit-key-8d1f0c77"
PATIENCE = 0.3
OPENED: set[int] = set()


class LineWire(ModelWire):
    """The server's side: each event is a line of JSON."""

    stream_type = "application/x-ndjson"
    garbage = b"{this is no JSON\n"

    def asked(self, body: bytes, headers: Mapping[str, str]) -> ModelAsked:
        found = json.loads(body)
        return ModelAsked(
            found["model"],
            tuple(message["text"] for message in found["history"]),
            found["instructions"],
            tuple(found["tools"]),
            sum("result" in message for message in found["history"]),
            sum(message.get("images", 0) for message in found["history"]),
            found["max"],
            found["schema"],
            found["options"].get("temperature"),
            headers.get("authorization", "").removeprefix("Bearer "),
        )

    def answer(self, reply: ModelReply, asked: ModelAsked) -> Iterable[bytes]:
        def line(**event: Any) -> bytes:
            return json.dumps(event).encode() + b"\n"

        yield from (line(text=piece) for piece in reply.pieces)
        for call in reply.calls:
            text = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
            yield line(id=call.id, tool=call.tool, arguments=text)
        counts = (reply.input_tokens, reply.output_tokens, reply.cached_tokens)
        yield line(end="length" if reply.cut else "stop", usage=counts, model=asked.model)

    def refusal(self, status: int, words: str) -> bytes:
        return json.dumps({"error": words}).encode()


REFUSALS: dict[int, type[ProviderError]] = {
    401: AuthenticationFailed,
    402: BillingFailed,
    404: UnknownModel,
    429: RateLimited,
    500: Overloaded,
    529: Overloaded,
}


class LineProvider(Provider):
    """The client's side: a connection for each request."""

    def __init__(self, url: str, wrong: str = "") -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self.wrong = wrong
        self.asked = self.answers = 0
        self.kept: list[trio.SocketStream] = []
        self.seen: dict[str, tuple[Any, ...]] = {}
        self.failed = False
        self.lock = trio.Semaphore(1)
        self.words: list[str] = []

    def __repr__(self) -> str:
        return f"LineProvider({SECRET if self.wrong == 'shows its key' else '...'})"

    async def open(self) -> None:
        if self.wrong == "works once":
            if self._port in OPENED:
                raise RuntimeError("not again")
            OPENED.add(self._port)

    async def close(self) -> None:
        if self.wrong != "keeps connections when closed":
            for stream in self.kept:
                await stream.aclose()

    async def check(self) -> Sequence[Finding]:
        try:
            stream = await self._connect("")
        except ProviderError as error:
            if self.wrong == "raises in check":
                raise
            step = "" if self.wrong == "has no next step in check" else "start the server"
            return (Finding("providers/lines", ok=False, detail=error.problem, next_step=step),)
        await stream.aclose()
        return (Finding("providers/lines", ok=True, detail="it answers"),)

    async def models(self) -> Sequence[ModelInfo]:
        self.asked += 1
        if self.wrong == "has no models":
            return ()
        if self.wrong == "has odd figures":
            return (ModelInfo("kit-model", window=-1),)
        if self.wrong == "has other models each time":
            return (ModelInfo(f"kit-model-{self.asked}"),)
        return (ModelInfo("kit-model", 8192, 1024, 1.0, 2.0, images=True),)

    # -- one request

    async def generate(self, request: ModelRequest, emit: Emit) -> ModelAnswer:
        if request.credential and self.wrong != "takes any credential":
            raise AuthenticationFailed("no such credential", provider=self.name, model=request.model)
        self._refuse_some(request)
        if self.wrong == "changes the request" and isinstance(request.options, dict):
            request.options["seen"] = True
        if self.wrong in ("is deaf to cancellation", "answers though cancelled"):
            found: list[ModelAnswer] = []
            with trio.CancelScope(shield=True):
                found.append(await self._ask(request, emit))
            return found[0]
        if self.wrong in ("takes one at a time", "is locked once cancelled"):
            return await self._ask_alone(request, emit)
        try:
            return await self._ask(request, emit)
        except ProviderError as error:
            self.failed = True
            if self.wrong == "raises what it likes":
                raise KeyError("choices") from error
            if self.wrong != "tries again":
                raise
        return await self._ask(request, emit)

    async def _ask_alone(self, request: ModelRequest, emit: Emit) -> ModelAnswer:
        await self.lock.acquire()
        answer = None
        try:
            answer = await self._ask(request, emit)
        finally:
            if answer is not None or self.wrong == "takes one at a time":
                self.lock.release()
        return answer

    def _refuse_some(self, request: ModelRequest) -> None:
        """What a wrong one does not take."""
        last = request.history[-1]
        results = isinstance(last, ToolResult)
        refused = {
            "refuses limits": (request.max_output_tokens is not None, "no such option"),
            "needs instructions": (not request.instructions, "no instructions"),
            "takes no results": (results, "no such message"),
            "takes no failures": (isinstance(last, ToolResult) and bool(last.error), "no such message"),
            "takes no empty results": (results and not last.text, "no such message"),
            "gives up after a failure": (self.failed, "it gave up"),
            "is spoilt by a failure": (self.failed, "it gave up"),
        }.get(self.wrong, (False, ""))
        if refused[0]:
            raise RuntimeError(refused[1])

    async def _ask(self, request: ModelRequest, emit: Emit) -> ModelAnswer:
        answer = _Answer(self, request, emit)
        stream = await self._connect(request.model)
        keeps = self.wrong in ("leaks connections", "keeps connections when closed")
        self.kept += [stream] if keeps else []
        try:
            await stream.send_all(self._encoded(request))
            await answer.read(stream)
        except (trio.BrokenResourceError, EOFError, ValueError) as error:
            raise answer.broken(error) from (error if self.wrong != "shows its key in a cause" else ValueError(SECRET))
        except trio.TooSlowError as error:
            kind = ConnectionFailed if self.wrong == "calls a stall a failed connection" else ProviderTimeout
            raise kind(f"no piece in {PATIENCE} s", provider=self.name, model=request.model) from error
        except trio.Cancelled:
            if self.wrong == "hangs up late":
                self.kept.append(stream)
                keeps = True
            raise
        finally:
            if not keeps:
                with trio.CancelScope(shield=True):
                    await stream.aclose()
        self.answers += 1
        return answer.result()

    async def _connect(self, model: str) -> trio.SocketStream:
        try:
            return await trio.open_tcp_stream(self._host, self._port)
        except OSError as error:
            if self.wrong == "raises the system's errors":
                raise
            raise ConnectionFailed("nobody listens", provider=self.name, model=model) from error

    def _encoded(self, request: ModelRequest) -> bytes:
        body = {
            "model": "another" if self.wrong == "asks another model" else request.model,
            "instructions": "" if self.wrong == "forgets instructions" else request.instructions,
            "history": [_said(each, self.wrong) for each in self._history(request)],
            "tools": [] if self.wrong == "offers no tools" else [spec.name for spec in request.tools],
            "max": None if self.wrong == "forgets the limit" else request.max_output_tokens,
            "schema": None if self.wrong == "forgets the schema" else request.output_schema,
            "options": {} if self.wrong == "forgets options" else dict(request.options),
        }
        data = json.dumps(body).encode()
        head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: {len(data)}\r\n\r\n"
        return head.encode() + data

    def _history(self, request: ModelRequest) -> Sequence[Message | ToolResult]:
        history = tuple(request.history)
        if self.wrong == "sends the end of a history":
            return history[-3:]
        if self.wrong == "cannot take a long history" and len(history) > 100:
            raise IndexError("too long")
        if self.wrong == "keeps an old history":
            return self.seen.setdefault(request.session, history)[:1] + history[1:]
        if self.wrong == "sends one result":
            return [each for each in history if not isinstance(each, ToolResult) or each is history[-1]]
        if self.wrong == "mixes sessions":
            last = self.seen.setdefault("", history)
            self.seen[""] = history
            return last
        return history


def _said(each: Message | ToolResult, wrong: str) -> dict[str, Any]:
    if wrong == "takes no recordings" and any(type(part).__name__ == "Audio" for part in each.parts):
        raise TypeError("no such part")
    if wrong == "takes no pictures" and any(isinstance(part, Image) for part in each.parts):
        raise TypeError("no such part")
    text = each.text
    if wrong == "spoils words" and "\u200b" in text:
        text = text.replace("\u200b", "")
    if wrong == "chokes on control characters" and "\x00" in text:
        raise RuntimeError("what is that?")
    if isinstance(each, ToolResult):
        return {"text": text.strip('"') if wrong == "spoils results" else text, "result": each.call}
    if wrong == "wants objects" and any(isinstance(call.arguments, str) for call in each.calls):
        raise TypeError("arguments are no object")
    images = 0 if wrong == "hides pictures" else sum(isinstance(part, Image) for part in each.parts)
    return {"text": text, "images": images, "calls": len(each.calls)}


class _Answer:
    """One answer as it grows."""

    def __init__(self, provider: LineProvider, request: ModelRequest, emit: Emit) -> None:
        self.provider, self.request, self.emit = provider, request, emit
        self.wrong = provider.wrong
        self.words = provider.words if self.wrong == "shares its words" else list[str]()
        self.calls: list[ToolCall] = []
        self.end: dict[str, Any] | None = None

    async def read(self, stream: trio.SocketStream) -> None:
        chunks = _Chunks(stream, self)
        status, headers = await chunks.head()
        if status != 200:
            raise self.refusal(status, headers, await chunks.exactly(int(headers["content-length"])))
        async with aclosing(chunks.lines()) as lines:
            async for line in lines:
                await self.take(json.loads(line))
        if self.end is None:
            raise EOFError("the stream ended before the answer did")
        await self.finish()

    async def take(self, event: dict[str, Any]) -> None:
        if "text" in event:
            if self.wrong == "drops words beside calls" and self.request.tools:
                return
            text = event["text"]
            if self.wrong == "wraps JSON" and not self.words:
                text = f"Sure: {text}"
            if self.wrong == "spoils the model's words":
                text = text.replace("\r", "")
            if self.wrong == "forgets long answers" and len(self.words) > 500:
                return
            self.words.append(text)
            if self.wrong not in ("streams at the end", "emits all at once") and text:
                await self.show(text)
            if self.wrong == "emits nothing too":
                await self.emit(Delta(""))
        elif "tool" in event:
            self.calls += self.called(event)
        else:
            self.end = event

    def called(self, event: dict[str, Any]) -> list[ToolCall]:
        name, arguments = event["tool"], event["arguments"]
        try:
            value = json.loads(arguments)
        except ValueError:
            if self.wrong == "fails at broken arguments":
                raise
            value = arguments
        if self.wrong == "drops unknown tools" and name not in {spec.name for spec in self.request.tools}:
            return []
        if self.wrong == "one call is enough" and self.calls:
            return []
        if self.wrong == "leaves arguments as text":
            value = arguments
        if self.wrong == "spoils arguments" and isinstance(value, dict) and "n" in value:
            value = {"n": [int(each or 0) for each in value["n"]]}
        ident = {"has no ids": "", "repeats ids": "call"}.get(self.wrong, event["id"])
        return [ToolCall(ident, name.upper() if self.wrong == "calls other tools" else name, value)]

    async def show(self, text: str) -> None:
        try:
            await self.emit(Delta(text))
        except Exception:
            if self.wrong != "swallows the reader's errors":
                raise

    async def finish(self) -> None:
        if self.wrong == "streams at the end":
            await self.emit(Delta("".join(self.words)))
        if self.wrong == "emits all at once":
            async with trio.open_nursery() as nursery:
                for word in self.words:
                    nursery.start_soon(self.emit, Delta(word))

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        words = json.loads(body)["error"]
        words = words if self.wrong == "shows its key in errors" else words.replace(SECRET, "***")
        kind = REFUSALS[status]
        wrong = {
            "knows no rate limit": 429,
            "knows no overload": 500,
            "knows no busy server": 529,
            "knows no wrong key": 401,
            "knows no billing": 402,
            "knows no unknown model": 404,
        }
        kind = ProviderError if wrong.get(self.wrong) == status else kind
        who = {} if self.wrong == "names nobody" else {"provider": "lines", "model": self.request.model}
        error = kind(words, status=status, next_step="see to it", **who)
        if isinstance(error, RateLimited):
            seconds = headers.get("retry-after")
            error.reset_after = float(seconds) if seconds and self.wrong != "ignores the time" else None
            if self.wrong == "makes up a time" and seconds is None:
                error.reset_after = 60.0
        return evolve(error, next_step="") if self.wrong == "gives no next step" else error

    def broken(self, error: BaseException) -> ProviderError:
        kind: type[ProviderError] = BrokenStream if self.words or self.calls else ConnectionFailed
        if self.wrong == "calls all a broken stream":
            kind = BrokenStream
        if self.wrong == "calls all a failed connection":
            kind = ConnectionFailed
        return kind(f"the answer broke off: {error!r}", provider="lines", model=self.request.model)

    def result(self) -> ModelAnswer:
        assert self.end is not None
        given, made, cached = self.end["usage"]
        usage = Usage(given, made, cached, 0.01)
        changed = {
            "counts nothing": Usage(),
            "counts too much cached": Usage(given, made, given + 1),
            "has a negative cost": Usage(given, made, cached, -1.0),
            "counts by itself": Usage(100, 10),
        }
        finish: Any = "tools" if self.calls else self.end["end"]
        finish = {"always says stop": "stop", "always says tools": "tools"}.get(self.wrong, finish)
        if self.wrong == "says stop with calls" and self.calls:
            finish = "stop"
        text = "".join(self.words)
        if self.wrong == "answers other words":
            text = "something else"
        if self.wrong == "answers nothing":
            text = ""
        if self.wrong == "forgets each second answer" and self.provider.answers % 2 == 0:
            text, finish = "", "length"
        if self.wrong == "gives half a character":
            text += "\ud83d"
        if self.wrong == "makes up words" and not text:
            text = "I have no answer."
        parts = (Text(text),) if text else ()
        model = "" if self.wrong == "names no model" else self.end["model"]
        return ModelAnswer(parts, tuple(self.calls), changed.get(self.wrong, usage), finish, model)


class _Chunks:
    """The reply, out of its frames."""

    def __init__(self, stream: trio.SocketStream, answer: _Answer) -> None:
        self.stream, self.answer, self.buffered = stream, answer, b""

    async def more(self) -> None:
        patient = self.answer.wrong in ("waits for ever", "streams at the end", "takes one at a time")
        patience = float("inf") if patient else PATIENCE
        with trio.fail_after(patience):
            data = await self.stream.receive_some()
        if not data:
            raise EOFError("the server hung up")
        self.buffered += data

    async def until(self, mark: bytes) -> bytes:
        while mark not in self.buffered:
            await self.more()
        found, _, self.buffered = self.buffered.partition(mark)
        return found

    async def exactly(self, size: int) -> bytes:
        while len(self.buffered) < size:
            await self.more()
        found, self.buffered = self.buffered[:size], self.buffered[size:]
        return found

    async def head(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self.until(b"\r\n\r\n")).decode().split("\r\n")
        return int(first.split()[1]), {line.split(": ")[0].lower(): line.split(": ")[1] for line in lines}

    async def lines(self) -> AsyncGenerator[bytes, None]:
        lax = self.answer.wrong == "takes half for whole"
        try:
            while size := int(await self.until(b"\r\n"), 16):
                data = await self.exactly(size)
                await self.exactly(2)
                try:
                    json.loads(data)
                except ValueError:
                    if self.answer.wrong == "skips garbage":
                        continue
                    raise
                yield data
        except EOFError:
            if not lax:
                raise
        if (lax or self.answer.wrong == "skips garbage") and self.answer.end is None:
            self.answer.end = {"end": "stop", "usage": (1, 1, 0), "model": "kit-model"}
