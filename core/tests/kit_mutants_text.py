"""Channels that break a promise of text."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import trio
from attrs import evolve

from fairlead import Delivery, Inbound, Outbound

from .kit_channel import MemoryChannel
from .kit_channel_mutants import Mutant, into, reworded, text_of
from .kit_platform import LIMIT, Stream

__all__ = ["TEXT"]

TEXT: list[Mutant] = []
breaks = partial(into, TEXT)


@breaks("hostile_text_arrives_unchanged", "in its last form")
class LeavesOutTheInvisible(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        return await super().send(reworded(outbound, text_of(outbound).replace("\u200b", "")))


@breaks("control_characters_do_no_harm_on_their_way_out", "it rings")
class StumblesOverBells(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        if "\x07" in text_of(outbound):
            raise ValueError("it rings")
        return await super().send(outbound)


@breaks("control_characters_do_no_harm_on_their_way_in", "until it is cancelled")
class StumblesOverNothing(MemoryChannel):
    def inbound(self, said: dict[str, Any]) -> Inbound:
        if "\x00" in said["text"]:
            raise ValueError("embedded null byte")
        return super().inbound(said)


@breaks("unbalanced_markup_arrives_in_its_words", "costs no words")
class InsistsOnMarkup(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        if text_of(outbound).count("`") % 2:
            return Delivery("failed", reason="cannot parse the entities")
        return await super().send(outbound)


@breaks("text_of_just_the_limit_arrives", "text of max_chars arrives whole")
class CountsFromOne(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        text = text_of(outbound)
        short = text.isascii() and len(text) == LIMIT
        return await super().send(reworded(outbound, text[:-1]) if short else outbound)


@breaks("longer_text_arrives_in_pieces", "arrive whole and in order")
class TakesPiecesForRepeats(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        return await super().send(evolve(outbound, id=outbound.id.partition(".")[0]))


@breaks("characters_at_the_limit_stay_whole", "characters of several bytes")
class CountsBytes(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        text = text_of(outbound).encode()[: 3 * LIMIT].decode("utf-8", "replace")
        return await super().send(reworded(outbound, text) if text else outbound)


@breaks("white_space_inside_is_kept", "inside a text is kept")
class TidiesUp(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        text = text_of(outbound)
        return await super().send(reworded(outbound, re.sub("  +", " ", text)) if text else outbound)


@breaks("bytes_that_make_no_sense_end_nothing", "until it is cancelled")
class TrustsBytes(MemoryChannel):
    def parse(self, line: bytes) -> dict[str, Any]:
        line.decode("utf-8")
        return super().parse(line)


@breaks("half_a_message_is_no_message", "half a message is not handed in")
class MakesDoWithHalf(MemoryChannel):
    async def lines(self, stream: Stream) -> AsyncGenerator[bytes, None]:
        buffered = b""
        while True:
            *lines, buffered = buffered.split(b"\n")
            for line in lines:
                yield line
            more = await stream.receive_some()
            if not more:
                break
            buffered += more
        if buffered.startswith(b'{"do": "said"'):
            yield buffered + b'", "place": "room", "thread": "", "author": "alice"}'
            await trio.sleep(0.01)  # real time: none, the clock jumps
