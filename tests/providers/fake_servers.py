"""Model servers on loopback that answer from a script: Chat Completions, and the Messages API.

They speak the two protocols well enough for the vendors' own clients (`test_vendors_clients.py`), and they can break
in every way that a real server breaks. In a test:

    script = [Says(calls=[Calls("calculate", {"expression": "17 * 23"})]), Says("It is ", "391.")]
    with openai_server(script) as base_url:
        ...

`base_url` is a text that also knows what was asked: `base_url.requests`. A script is a sequence of answers, of which
the last one is repeated, or a function from the body of a request to an answer. As a program:

    python tests/providers/fake_servers.py openai

prints the URL of a server that calls `calculate` once and then says the result, until its input ends.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from attrs import frozen
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

USAGE = {"input": 120, "cached": 100, "output": 7}
MODELS = ("fake-large", "fake-small")


@frozen
class Calls:
    """A call of a tool; arguments of type str are sent as they are, however broken."""

    tool: str
    arguments: Any = None
    id: str = ""
    """Empty: made by the server."""

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments or {})


@frozen(init=False)
class Says:
    """An answer, its text piece by piece."""

    pieces: tuple[str, ...]
    calls: tuple[Calls, ...]
    reasoning: tuple[str, ...]
    finish: str
    """As the protocol spells it; empty for the usual one."""
    usage: Mapping[str, int] | None
    whole: bool
    """As one JSON document, though a stream was asked for."""
    end: bool
    """With the mark of the end."""
    breaks: str
    """After the pieces: ``cut`` (half a stream), ``garbage``, ``stall``, ``error`` (the protocol's own), or nothing."""
    quirks: frozenset[str]
    """``no_ids``, ``no_index``, ``extras``: what other servers do differently."""

    def __init__(
        self,
        *pieces: str,
        calls: Sequence[Calls] = (),
        reasoning: Sequence[str] = (),
        finish: str = "",
        usage: Mapping[str, int] | None = USAGE,
        whole: bool = False,
        end: bool = True,
        breaks: str = "",
        quirks: Sequence[str] = (),
    ) -> None:
        self.__attrs_init__(
            pieces, tuple(calls), tuple(reasoning), finish, usage, whole, end, breaks, frozenset(quirks)
        )


@frozen
class Fails:
    """A refusal, with the body as it is."""

    status: int
    error: Any = None
    headers: Mapping[str, str] = {}


Answer = Says | Fails
Script = Sequence[Answer] | Callable[[dict[str, Any]], Answer]


class FakeServer(str):
    """The base URL of a running server, which knows what it was asked."""

    __slots__ = ("answers", "connections", "headers", "hung_up", "requests")

    requests: list[dict[str, Any]]
    """The bodies, in order."""
    headers: list[dict[str, str]]
    answers: Script
    hung_up: threading.Event
    """A client has gone away in the middle of an answer."""
    connections: set[tuple[str, int]]
    """The addresses of the clients' ends: as many as there were connections."""

    def note(self, request: Request, body: dict[str, Any]) -> Answer:
        """Remember a request and choose its answer."""
        if request.client is not None:
            self.connections.add((request.client.host, request.client.port))
        self.headers.append(dict(request.headers))
        self.requests.append(body)
        if callable(self.answers):
            return self.answers(body)
        return self.answers[min(len(self.requests), len(self.answers)) - 1]


class Cut(Exception):
    """Raised in a stream: the server drops the connection in the middle of the reply."""


# -- the two protocols: an answer as events


def openai_events(says: Says, body: Mapping[str, Any]) -> Iterator[str]:
    """The events of Chat Completions, each with its end."""

    def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> str:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        return _data({**_openai_frame(body, "chat.completion.chunk"), "choices": choices, **more})

    yield chunk({"role": "assistant", "content": ""})
    for piece in says.reasoning:
        yield chunk({"reasoning_content": piece})
    for piece in says.pieces:
        yield chunk({"content": piece})
    for delta in _openai_call_deltas(says):
        yield chunk({"tool_calls": [delta]})
    if says.breaks == "error":
        yield _data({"error": {"message": "the engine is overloaded", "type": "server_error", "code": None}})
    if says.breaks:
        return
    if says.end:
        yield chunk({}, says.finish or ("tool_calls" if says.calls else "stop"))
        if says.usage is not None and body.get("stream_options", {}).get("include_usage"):
            yield chunk(None, usage=_openai_usage(says.usage))
        yield "data: [DONE]\n\n"


def _openai_call_deltas(says: Says) -> Iterator[dict[str, Any]]:
    """The calls in fragments; with several, their fragments are mixed as parallel calls are."""
    bare = "no_ids" in says.quirks
    for index, call in enumerate(says.calls):
        start: dict[str, Any] = {"index": index, "type": "function", "function": {"name": call.tool, "arguments": ""}}
        if not bare:
            start["id"] = call.id or f"call_{index:024d}"
        if "no_index" in says.quirks:
            del start["index"]
            start["function"]["arguments"] = call.text
        yield start
    if "no_index" in says.quirks:
        return
    longest = max((len(call.text) for call in says.calls), default=0)
    for at in range(0, longest, 5):
        for index, call in enumerate(says.calls):
            if piece := call.text[at : at + 5]:
                yield {"index": index, "function": {"arguments": piece}}


def openai_whole(says: Says, body: Mapping[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(says.pieces) or None}
    if says.calls:
        message["tool_calls"] = [
            {
                "id": call.id or f"call_{index}",
                "type": "function",
                "function": {"name": call.tool, "arguments": call.text},
            }
            for index, call in enumerate(says.calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": says.finish or ("tool_calls" if says.calls else "stop")}
    reply = {**_openai_frame(body, "chat.completion"), "choices": [choice]}
    return reply if says.usage is None else {**reply, "usage": _openai_usage(says.usage)}


def _openai_frame(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-fake", "object": kind, "created": 1_700_000_000, "model": f"{body.get('model')}-2026"}


def _openai_usage(usage: Mapping[str, int]) -> dict[str, Any]:
    total = usage["input"] + usage["output"]
    counts = {"prompt_tokens": usage["input"], "completion_tokens": usage["output"], "total_tokens": total}
    return {**counts, "prompt_tokens_details": {"cached_tokens": usage["cached"]}}


def anthropic_events(says: Says, body: Mapping[str, Any]) -> Iterator[str]:
    """The events of the Messages API, each with its end."""
    message = anthropic_whole(says, body)
    yield _event("message_start", message={**message, "content": [], "stop_reason": None})
    yield _event("ping")
    if "extras" in says.quirks:
        yield _event("a_kind_of_next_year", value=1)
    for index, block in enumerate(message["content"]):
        yield _event("content_block_start", index=index, content_block=_anthropic_start(block))
        for delta in _anthropic_deltas(block, says):
            yield _event("content_block_delta", index=index, delta=delta)
        if not says.breaks:
            yield _event("content_block_stop", index=index)
    if says.breaks == "error":
        yield _event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    if says.breaks or not says.end:
        return
    usage = {"output_tokens": (says.usage or {}).get("output", 0)}
    yield _event("message_delta", delta={"stop_reason": message["stop_reason"], "stop_sequence": None}, usage=usage)
    yield _event("message_stop")


def _anthropic_start(block: Mapping[str, Any]) -> dict[str, Any]:
    empty = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {key: empty.get(key, value) for key, value in block.items()}


def _anthropic_deltas(block: Mapping[str, Any], says: Says) -> Iterator[dict[str, Any]]:
    if block["type"] == "text":
        yield from ({"type": "text_delta", "text": piece} for piece in says.pieces)
    elif block["type"] == "thinking":
        yield from ({"type": "thinking_delta", "thinking": piece} for piece in says.reasoning)
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        text = says.calls[int(block["id"].rpartition("_")[2])].text
        yield {"type": "input_json_delta", "partial_json": ""}
        yield from ({"type": "input_json_delta", "partial_json": text[at : at + 5]} for at in range(0, len(text), 5))


def anthropic_whole(says: Says, body: Mapping[str, Any]) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if says.reasoning:
        content.append({"type": "thinking", "thinking": "".join(says.reasoning), "signature": "c2lnbmF0dXJl"})
    if says.pieces:
        content.append({"type": "text", "text": "".join(says.pieces)})
    for index, call in enumerate(says.calls):
        value = call.arguments if isinstance(call.arguments, dict) else {}
        content.append({"type": "tool_use", "id": f"toolu_{index}", "name": call.tool, "input": value})
    usage = says.usage or {"input": 0, "cached": 0, "output": 0}
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": f"{body.get('model')}-2026",
        "content": content,
        "stop_reason": says.finish or ("tool_use" if says.calls else "end_turn"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage["input"] - usage["cached"],
            "cache_read_input_tokens": usage["cached"],
            "cache_creation_input_tokens": 0,
            "output_tokens": usage["output"],
        },
    }


def _data(value: Any) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\n{_data({'type': kind, **fields})}"


# -- serving


@contextmanager
def openai_server(script: Script) -> Iterator[FakeServer]:
    """A server of Chat Completions; the URL ends in ``/v1``."""
    with serving() as site, site.served(script, "/v1", openai_events, openai_whole) as url:
        yield url


@contextmanager
def anthropic_server(script: Script) -> Iterator[FakeServer]:
    """A server of the Messages API; the URL is the root, as the vendor's clients take it."""
    with serving() as site, site.served(script, "", anthropic_events, anthropic_whole) as url:
        yield url


Events = Callable[[Says, Mapping[str, Any]], Iterator[str]]
Whole = Callable[[Says, Mapping[str, Any]], dict[str, Any]]


class Site(uvicorn.Server):
    """One web server in a thread; each fake server is a path of it, since starting and stopping takes 0.2 s."""

    def __init__(self) -> None:
        paths = ["/{number:int}/v1/chat/completions", "/{number:int}/v1/messages"]
        routes = [Route(path, self._answer, methods=["POST"]) for path in paths]
        app = Starlette(routes=[*routes, Route("/{number:int}/v1/models", _models)])
        # The log would show the connections that are dropped on purpose.
        super().__init__(
            uvicorn.Config(app, log_config=None, log_level=100, lifespan="off", timeout_graceful_shutdown=1)
        )
        self.holders = 0
        self._servers: list[tuple[FakeServer, Events, Whole]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self.run, args=([self._listener],), name="fake model servers")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.should_exit = True
        self._thread.join()
        self._listener.close()

    @contextmanager
    def served(self, script: Script, suffix: str, events: Events, whole: Whole) -> Iterator[FakeServer]:
        """A fake server at a path of its own."""
        port, number = self._listener.getsockname()[1], len(self._servers)
        url = FakeServer(f"http://127.0.0.1:{port}/{number}{suffix}")
        url.requests, url.headers, url.answers = [], [], script
        url.hung_up, url.connections = threading.Event(), set()
        self._servers.append((url, events, whole))
        yield url

    async def _answer(self, request: Request) -> Response:
        url, events, whole = self._servers[request.path_params["number"]]
        body = await request.json()
        says = url.note(request, body)
        if isinstance(says, Fails):
            return JSONResponse(says.error, says.status, dict(says.headers))
        if says.whole or not body.get("stream"):
            return JSONResponse(whole(says, body))
        return StreamingResponse(_streamed(url, says, events(says, body)), media_type="text/event-stream")


async def _models(request: Request) -> Response:
    found = [{"id": name, "object": "model", "max_model_len": 4096, "max_input_tokens": 4096} for name in MODELS]
    return JSONResponse({"object": "list", "data": found})


_sites: list[Site] = []


@contextmanager
def serving() -> Iterator[Site]:
    """The one site of this process, as long as somebody holds it; `conftest.py` holds it for all tests."""
    if not _sites:
        _sites.append(Site())
        _sites[0].start()
    site = _sites[0]
    site.holders += 1
    try:
        yield site
    finally:
        site.holders -= 1
        if not site.holders:
            _sites.clear()
            site.stop()


async def _streamed(url: FakeServer, says: Says, events: Iterator[str]) -> AsyncIterator[str]:
    for event in events:
        yield event
        # Each event is a write of its own, as with a model that thinks between two words.
        await asyncio.sleep(0)
    if says.breaks == "cut":
        raise Cut
    if says.breaks == "garbage":
        yield "data: {this is no JSON\n\n"
    if says.breaks == "stall":
        try:
            await asyncio.Event().wait()
        finally:
            url.hung_up.set()


@contextmanager
def resetting_server() -> Iterator[str]:
    """A server that takes each request and resets its connection (RST) before any answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    thread = threading.Thread(target=serve, name="resetting server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def closed_port() -> str:
    """The URL of a port of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


# -- as a program


def calculate_then_say(body: dict[str, Any]) -> Answer:
    """Call `calculate` for a question, and say its result in pieces once it is there."""
    answered = _result_of(body["messages"][-1])
    if answered is None:
        return Says(calls=(Calls("calculate", {"expression": "17 * 23"}),))
    return Says("The ", "result ", "is ", f"{answered}.")


def _result_of(message: Mapping[str, Any]) -> str | None:
    if message["role"] == "tool":
        return str(message["content"])
    blocks = message["content"] if isinstance(message["content"], list) else []
    results = [block for block in blocks if block.get("type") == "tool_result"]
    return str(results[0]["content"][0]["text"]) if results else None


def main(protocol: str) -> None:
    server = {"openai": openai_server, "anthropic": anthropic_server}[protocol]
    with server(calculate_then_say) as base_url:
        print(base_url, flush=True)  # noqa: T201  # a program that tells where it listens
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
