"""A fake of Telegram's HTTP API on loopback: it delivers what somebody says, and keeps what a bot answers."""

from __future__ import annotations

import json
import math
import urllib.parse
from functools import partial
from typing import Any

import trio

__all__ = ["FakeTelegram"]

BOT = {"id": 1, "is_bot": True, "first_name": "Bot", "username": "a_bot"}
ALICE = {"id": 7, "is_bot": False, "first_name": "Alice"}
CHAT = {"id": 42, "type": "private", "first_name": "Alice"}


class FakeTelegram:
    """Run `run` with `nursery.start`; then `url` is where it listens."""

    def __init__(self) -> None:
        self.url = ""
        self.said: list[str] = []
        self.methods: list[str] = []
        self.tokens: set[str] = set()
        self._updates: list[dict[str, Any]] = []
        self._first = 1
        self._more = trio.Event()
        self._show, self._shown = trio.open_memory_channel[str](math.inf)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, self._serve, 0, host="127.0.0.1")
            (listener,) = await nursery.start(serve)
            self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
            task_status.started()

    def say(self, text: str) -> None:
        number = self._first + len(self._updates)
        message = {"message_id": 100 + number, "date": 1_800_000_000, "chat": CHAT, "from": ALICE, "text": text}
        self._updates.append({"update_id": number, "message": message})
        self._more.set()

    async def next(self) -> str:
        """What the bot says next."""
        return await self._shown.receive()

    async def _serve(self, stream: trio.SocketStream) -> None:
        buffered = b""
        while True:
            while b"\r\n\r\n" not in buffered:
                data = await self._some(stream)
                if not data:
                    return
                buffered += data
            head, _, buffered = buffered.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            length = next((int(line[15:]) for line in lines if line.lower().startswith("content-length:")), 0)
            while len(buffered) < length:
                buffered += await self._some(stream)
            body, buffered = buffered[:length], buffered[length:]
            result = await self._answer(lines[0].split()[1], body.decode())
            answer = json.dumps({"ok": True, "result": result}).encode()
            header = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n"
            try:
                await stream.send_all(header.encode() + answer)
            except trio.BrokenResourceError:
                return

    async def _some(self, stream: trio.SocketStream) -> bytes:
        try:
            return bytes(await stream.receive_some())
        except trio.BrokenResourceError:
            return b""

    async def _answer(self, path: str, body: str) -> Any:
        _, token, method = path.split("/", 2)
        self.tokens.add(token.removeprefix("bot"))
        self.methods.append(method.partition("?")[0])
        fields = _fields(body)
        if method == "getMe":
            return BOT
        if method == "getUpdates":
            return await self._poll(int(fields.get("offset") or 0), float(fields.get("timeout") or 0))
        if method == "sendMessage":
            self.said.append(fields["text"])
            self._show.send_nowait(fields["text"])
            return {
                "message_id": 1000 + len(self.said),
                "date": 1_800_000_000,
                "chat": CHAT,
                "from": BOT,
                "text": fields["text"],
            }
        return True

    async def _poll(self, offset: int, seconds: float) -> list[dict[str, Any]]:
        with trio.move_on_after(seconds):
            while not (found := [update for update in self._updates if update["update_id"] >= offset]):
                self._more = trio.Event()
                await self._more.wait()
            return found
        return []


def _fields(body: str) -> dict[str, str]:
    """The fields of a form, as either library sends it: urlencoded, or multipart without files."""
    if body.startswith("--"):
        boundary = body.partition("\r\n")[0]
        parts = [part.partition("\r\n\r\n") for part in body.split(boundary)[1:-1]]
        return {head.partition('name="')[2].partition('"')[0]: value.strip("\r\n") for head, _, value in parts}
    return dict(urllib.parse.parse_qsl(body))
