"""The switchboard: pagers connect, say who they are, and page."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

import trio

from fairlead import Address, Capabilities, Channel, Delivery, Inbound, Inbox, Outbound, Principal, Receipt, Text
from fairlead.errors import FairleadError, JournalUnavailable

__all__ = ["PagerChannel"]

LONGEST_LINE = 65_536
"""Bytes."""


class Pager:
    """One connected pager."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.name = ""
        self.shown: dict[str, trio.Event] = {}
        self._stream = stream
        self._sending = trio.Lock()

    async def say(self, *words: str) -> None:
        async with self._sending:
            await self._stream.send_all(" ".join(words).encode() + b"\n")

    async def lines(self) -> AsyncGenerator[str, None]:
        """What it says, line by line, until it hangs up or says too much at once."""
        buffered = b""
        while len(buffered) <= LONGEST_LINE:
            line, newline, rest = buffered.partition(b"\n")
            if newline:
                buffered = rest
                yield line.decode("utf-8", "replace").strip()
                continue
            more = await self._stream.receive_some()
            if not more:
                return
            buffered += more


class PagerChannel(Channel):
    """Pages in, pages out. A pager's name is its conversation."""

    capabilities = Capabilities(max_chars=10_000)

    def __init__(self, name: str, port: int, seconds: float) -> None:
        self.name = name
        self._port = port
        self._seconds = seconds
        self._pagers: dict[str, Pager] = {}

    async def run(self, inbox: Inbox) -> None:
        """Take connections until cancelled."""
        listeners = await trio.open_tcp_listeners(self._port, host="127.0.0.1")
        host, port = listeners[0].socket.getsockname()

        async def serve(stream: trio.SocketStream) -> None:
            await self._serve(stream, inbox)

        inbox.ready(f"tcp://{host}:{port}")
        await trio.serve_listeners(serve, listeners)

    async def _serve(self, stream: trio.SocketStream, inbox: Inbox) -> None:
        pager = Pager(stream)
        try:
            async with stream, aclosing(pager.lines()) as lines:
                async for line in lines:
                    await self._obey(pager, line, inbox)
        except trio.BrokenResourceError:
            pass  # it hung up in the middle of something
        finally:
            if self._pagers.get(pager.name) is pager:
                del self._pagers[pager.name]

    async def _obey(self, pager: Pager, line: str, inbox: Inbox) -> None:
        verb, _, rest = line.partition(" ")
        if verb == "HELLO" and rest:
            pager.name = rest
            self._pagers[rest] = pager
            await pager.say("WELCOME", rest)
        elif verb == "SHOWN" and rest in pager.shown:
            pager.shown[rest].set()
        elif verb == "PAGE" and pager.name:
            number, _, text = rest.partition(" ")
            await self._page(pager, number, text, inbox)
        else:
            await pager.say("WHAT", json.dumps(line))

    async def _page(self, pager: Pager, number: str, quoted: str, inbox: Inbox) -> None:
        try:
            text = json.loads(quoted)
            address = Address(self.name, conversation=pager.name)
            author = Principal(f"{self.name}:{pager.name}", pager.name)
            # Each pager counts for itself, and an external id is one for the whole channel.
            event = f"{number}@{pager.name}"
            receipt: Receipt = await inbox.accept(Inbound(address, author, (Text(str(text)),), external_id=event))
        except JournalUnavailable:
            await pager.say("LATER", number)
        except (ValueError, FairleadError) as error:
            await pager.say("NO", number, json.dumps(str(error)))
        else:
            taken = receipt.status != "refused"
            await (pager.say("GOT", number) if taken else pager.say("NO", number, json.dumps(receipt.notice)))

    async def send(self, outbound: Outbound) -> Delivery:
        """To the pager of that name, which says when it has shown it."""
        pager = self._pagers.get(outbound.address.conversation)
        if pager is None:
            return Delivery("failed", reason=f"{outbound.address.conversation} is not connected")
        text = "\n".join(part.text for part in outbound.parts if isinstance(part, Text))
        shown = pager.shown[outbound.id] = trio.Event()
        try:
            with trio.move_on_after(self._seconds):
                number = outbound.in_reply_to.partition("@")[0]
                await pager.say("SHOW", outbound.id, number or "-", json.dumps(text))
                await shown.wait()
                return Delivery("sent", external_id=outbound.id)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return Delivery("ambiguous", reason="the pager hung up")
        finally:
            del pager.shown[outbound.id]
        return Delivery("ambiguous", reason=f"the pager did not say within {self._seconds:g} s that it shows it")
