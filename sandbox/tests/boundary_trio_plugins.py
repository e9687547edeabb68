"""Plugins for tests of the boundary, on trio: a test channel on a socket, a script, and one that misbehaves.

They are imported in the plugin's own process, through its entry point; the tests never import them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import trio

from fairlead import (
    Address,
    Capabilities,
    Channel,
    Delivery,
    Draft,
    Inbound,
    Inbox,
    ModelRequest,
    Observer,
    Outbound,
    Principal,
    Provider,
    Settings,
    Text,
    Tool,
    ToolCall,
    ToolContext,
    ToolResult,
    ToolSpec,
)
from fairlead.errors import FairleadError, ToolError, UnknownModel
from fairlead.events import Record
from fairlead.hookspecs import hookimpl
from fairlead.memory import Note
from fairlead.testing import ScriptedProvider, calls

__all__ = [
    "fairlead_channels",
    "fairlead_observers",
    "fairlead_providers",
    "fairlead_tools",
]


class LineChannel(Channel):
    """Lines of JSON over TCP: what comes in is ``{"text", "id"}``, what goes out ``{"do", "text", "id"}``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._streams: list[trio.SocketStream] = []
        self._sent: set[str] = set()
        self._sending = trio.Lock()

    async def open(self) -> None:
        await trio.lowlevel.checkpoint()
        self.capabilities = Capabilities(streaming=True, edits=True, idempotency=True)

    async def run(self, inbox: Inbox) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def serve(stream: trio.SocketStream) -> None:
            await self._serve(stream, inbox)

        inbox.ready(f"127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        await trio.serve_listeners(serve, listeners)

    async def _serve(self, stream: trio.SocketStream, inbox: Inbox) -> None:
        self._streams.append(stream)
        buffered = b""
        async with stream:
            async for data in stream:
                buffered += data
                *lines, buffered = buffered.split(b"\n")
                for line in lines:
                    await self._obey(stream, json.loads(line), inbox)

    async def _obey(self, stream: trio.SocketStream, said: Any, inbox: Inbox) -> None:
        address = Address(self.name, conversation="room")
        if said.get("do") == "stop":
            answer = {"do": "stopped", "text": str(await inbox.cancel(address)), "id": ""}
        else:
            inbound = Inbound(address, Principal("line:alice", "Alice"), (Text(said["text"]),), said["id"])
            try:
                receipt = await inbox.accept(inbound)
                answer = {"do": "taken", "text": receipt.status, "id": said["id"]}
            except FairleadError as error:
                answer = {"do": "later", "text": type(error).__name__, "id": said["id"]}
        async with self._sending:
            await stream.send_all(json.dumps(answer).encode() + b"\n")

    async def _show(self, do: str, text: str, ident: str) -> None:
        async with self._sending:
            for stream in self._streams:
                await stream.send_all(json.dumps({"do": do, "text": text, "id": ident}).encode() + b"\n")

    async def send(self, outbound: Outbound) -> Delivery:
        if outbound.id not in self._sent:
            self._sent.add(outbound.id)
            await self._show("show", "\n".join(p.text for p in outbound.parts if isinstance(p, Text)), outbound.id)
        return Delivery("sent", external_id=outbound.id)

    async def edit(self, delivery: Delivery, outbound: Outbound) -> Delivery:
        text = "\n".join(part.text for part in outbound.parts if isinstance(part, Text))
        await self._show("edit", text, delivery.external_id)
        return delivery

    async def preview(self, draft: Draft) -> None:
        await self._show("draft", draft.text, draft.id)


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    return [LineChannel(settings.name)]


def answer(request: ModelRequest) -> Any:
    """A fixed script, as the provider of the kit."""
    last = request.history[-1]
    if request.model != "script":
        return UnknownModel(f"no model is named {request.model!r}", model=request.model)
    if isinstance(last, ToolResult):
        return f"the tool said {last.text}"
    if request.tools and "2 + 3" in last.text:
        return calls(("add", {"a": 2, "b": 3}), text="let me see")
    if last.text == "leave":
        os._exit(9)
    if last.text.startswith("say "):
        return last.text.removeprefix("say ")
    if last.text.startswith("use "):
        return calls((last.text.removeprefix("use "), {}))
    return "hello, this is a script"


@hookimpl
def fairlead_providers(settings: Settings) -> Sequence[Provider]:
    return [ScriptedProvider([answer], repeat=True, stream="words")]


class OddTool(Tool):
    """Tools that do what well-behaved tools do not."""

    def __init__(self, options: Any) -> None:
        self._options = options
        self.cancelled = 0
        self.immediate = False

    async def open(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._options.get("fail") == "open":
            raise SystemExit("I will not")

    def specs(self) -> Sequence[ToolSpec]:
        names = (
            "fine",
            "noise",
            "exit",
            "leave",
            "raise",
            "please",
            "patient",
            "stubborn",
            "remember",
            "hidden",
            "now",
        )
        return [ToolSpec(name, "Odd.", {"type": "object"}, "read", "host") for name in (*names, "forge", "count")]

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult | str:
        await trio.lowlevel.checkpoint()
        found: ToolResult | str = await getattr(self, f"_{call.tool}")(call, context)
        return found

    async def _fine(self, call: ToolCall, context: ToolContext) -> str:
        await context.progress("on it")
        return f"{context.session} {context.principal.id if context.principal else 'nobody'}"

    async def _noise(self, call: ToolCall, context: ToolContext) -> str:
        print("a plugin that prints")  # noqa: T201  # that it may is the point
        os.write(1, b"\x00\x00\x00\x05hello")
        sys.stdout.flush()
        return repr(os.read(0, 10))

    async def _exit(self, call: ToolCall, context: ToolContext) -> str:
        raise SystemExit(3)

    async def _leave(self, call: ToolCall, context: ToolContext) -> str:
        print("these are my last words", file=sys.stderr, flush=True)  # noqa: T201  # that it may is the point
        os._exit(7)

    async def _raise(self, call: ToolCall, context: ToolContext) -> str:
        raise ZeroDivisionError("by nothing")

    async def _please(self, call: ToolCall, context: ToolContext) -> str:
        raise ToolError("say please", next_step="please")

    async def _patient(self, call: ToolCall, context: ToolContext) -> str:
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled += 1

    async def _spin(self, call: ToolCall, context: ToolContext) -> str:
        await context.progress("spinning")
        while True:
            pass

    async def _stubborn(self, call: ToolCall, context: ToolContext) -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()
        return "never"

    async def _count(self, call: ToolCall, context: ToolContext) -> str:
        return str(self.cancelled)

    async def _remember(self, call: ToolCall, context: ToolContext) -> str:
        if context.recall is None:
            return "nothing to remember with"
        note = await context.recall.add(Note("tea at four", "somebody else"))
        found = await context.recall.search("somebody else", "tea")
        gone = await context.recall.erase("somebody else", note.id)
        return f"{note.scope} {len(found)} {gone}"

    async def _hidden(self, call: ToolCall, context: ToolContext) -> str:
        secret = self._options["key"]
        return f"{secret.reveal()} {secret!r} {sorted(os.environ)}"

    async def _now(self, call: ToolCall, context: ToolContext) -> str:
        return str(context.now() >= 1_800_000_000.0)

    async def _reach(self, call: ToolCall, context: ToolContext) -> str:
        host, _, port = os.environ["HTTPS_PROXY"].removeprefix("http://").partition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"anybody there?")
            return (await stream.receive_some()).decode()

    async def _forge(self, call: ToolCall, context: ToolContext) -> ToolResult:
        return ToolResult("another", "another", (Text("x"),), evidence={"level": "kernel"})


@hookimpl
def fairlead_tools(settings: Settings) -> Sequence[Tool]:
    if settings.options.get("fail") == "hook":
        raise SystemExit("not for you")
    if settings.options.get("fail") == "leave":
        os._exit(5)
    if settings.options.get("fail") == "stranger":
        return ["a text"]  # type: ignore[list-item]  # what is wrong is the point
    return [OddTool(settings.options)]


class Diary(Observer):
    """Writes what it sees into a file."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def observe(self, record: Record) -> None:
        async with await trio.open_file(self._path, "a") as file:
            await file.write(f"{record.session} {record.version} {record.event.kind}\n")


@hookimpl
def fairlead_observers(settings: Settings) -> Sequence[Observer]:
    return [Diary(settings.options["diary"])] if "diary" in settings.options else []
