"""What a channel promises of text: limits, odd characters, broken markup, bytes that make no sense."""

from __future__ import annotations

from pathlib import Path

from fairlead._message import Text, new_id
from fairlead._outbox import fitted
from fairlead._work import Outbound
from fairlead.testing._channel_far import CAN, RUN, SECONDS, SEND, ChannelFar, words_of
from fairlead.testing._worker_kit import HOSTILE_TEXTS, needs, promise, same, within

__all__ = ["TextChecks"]

LIMIT, MARKUP = "fairlead.Capabilities.max_chars", "fairlead.Capabilities.markup"
WORDS = "abcdefghi "
CONTROLS = (
    "bell \x07 and \x1b[31mred\x1b[0m and \x9b2J",
    "nothing \x00 inside",
    "carriage\rreturn\r\nand \x0b and \x0c",
    "\u202eturned around \u2066and isolated",
    "\ufeffmark of order \u2028 line \u2029 paragraph \x85 next",
    "w" * 5000,
    "/quit .stop !important \x01ACTION waves\x01",
    "tag characters \U000e0041\U000e007f and private \ue000 and none \uffff",
    "marks " + "Z" + "\u0351\u0352" * 200,
)
"""Characters that platforms forbid or act upon. What becomes of them is the channel's business."""
UNBALANCED = (
    "**unfinished",
    "`unfinished",
    "```python\nunfinished",
    "_unfinished *twice",
    "<b>unfinished",
    "<unfinished & <",
    "[unfinished](",
    "![unfinished](javascript:alert(1))",
    "unfinished &amp &#xfffff; &",
    "| unfinished | table\n|---",
    "> unfinished\n- [ ] \n1. # -- ||",
    "unfinished \\",
)
"""What the core's cut through a long answer leaves, and what models write."""
JUNK = (
    b"\xff\xfe\xfd\xfc\r\n",
    b"\x00" * 100 + b"\r\n",
    b'{"unfinished": ["\r\n\r\n',
    b"\xed\xa0\xbd\xed\xb8\x80 half characters \xf0\x9f\r\n",
    b"x" * 200_000 + b"\r\n",
    b"\r\n" * 50,
    b'[[[[{"a":1e999,"b":-0,"c":null}]]]]\r\n',
    b"{}\r\nnull\r\n-1\r\n",
)


class TextChecks(ChannelFar):
    """Limits, splitting, markup, and hostile text."""

    async def test_hostile_text_arrives_unchanged(self, tmp_path: Path) -> None:
        """Any Unicode text, in both directions, up to `max_chars` on the way out."""
        async with self.running(tmp_path) as (channel, inbox):
            for text in HOSTILE_TEXTS:
                fits = text[: channel.capabilities.max_chars].strip()
                await self.send(channel, (await self.heard(inbox, fits)).address, fits)
                await self.reads(fits, last=1)

    async def test_control_characters_do_no_harm_on_their_way_out(self, tmp_path: Path) -> None:
        """Shown, spelled out, left out or refused; and what follows arrives."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            for number, text in enumerate(CONTROLS):
                delivery = await self.send(channel, where, text[: channel.capabilities.max_chars])
                fair = delivery.status == "sent" or delivery.reason
                promise(fair, "what was not sent has a reason", "fairlead.Delivery.reason", (text[:50], delivery))
                await self.send(channel, where, f"after {number}")
                await self.reads(f"after {number}", last=1)

    async def test_control_characters_do_no_harm_on_their_way_in(self, tmp_path: Path) -> None:
        """Handed in as they are or cleaned, or not handed in; and what follows is."""
        async with self.running(tmp_path) as (_, inbox):
            for number, text in enumerate(CONTROLS):
                try:
                    with within(SECONDS, "an odd message is let go", RUN):
                        await self.inbound(text, new_id())
                except ValueError:
                    continue  # nobody can say it there
                await self.hears(inbox, f"after {number}")

    async def test_unbalanced_markup_arrives_in_its_words(self, tmp_path: Path) -> None:
        """Platforms refuse what does not parse; a channel then sends the words."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            for number, text in enumerate(UNBALANCED):
                before = len(await self.outbox())
                delivery = await self.send(channel, where, text)
                await self.send(channel, where, f"after {number}")
                await self.reads(f"after {number}", last=1)
                seen = "\n".join(list(await self.outbox())[before:])
                promise("unfinished" in seen, "broken markup costs no words", MARKUP, (text, delivery, seen))

    @needs("max_chars")
    async def test_text_of_just_the_limit_arrives(self, tmp_path: Path) -> None:
        """`max_chars` is what fits, and no guess; also with a word that has no end."""
        async with self.running(tmp_path) as (channel, inbox):
            where, limit = (await self.heard(inbox, "hello there")).address, channel.capabilities.max_chars or 0
            for text in ((WORDS * limit)[: limit - 1] + "!", "w" * limit):
                await self.arrives(
                    lambda text=text: self.send(channel, where, text),  # type: ignore[misc]  # bound at once
                    text,
                    "text of max_chars arrives whole",
                    LIMIT,
                )

    @needs("max_chars")
    async def test_longer_text_arrives_in_pieces(self, tmp_path: Path) -> None:
        """As the core cuts it: limit + 1, and several times the limit; in order, nothing lost and nothing twice."""
        async with self.running(tmp_path) as (channel, inbox):
            where, limit = (await self.heard(inbox, "hello there")).address, channel.capabilities.max_chars or 0
            for length in (limit + 1, 3 * limit + 1):
                text = (WORDS * length)[: length - 1] + "!"
                pieces = fitted((Text(text),), channel.capabilities)
                longest = max(len(words_of(parts)) for parts in pieces)
                promise(longest <= limit, "the core cuts at max_chars", LIMIT, longest)
                turn = new_id()

                async def send(pieces: list[tuple[Text, ...]] = pieces, turn: str = turn) -> None:  # type: ignore[assignment]  # parts of text are Text
                    for step, parts in enumerate(pieces):
                        await self.post(channel, Outbound(f"{turn}.{step}" if step else turn, where, parts))

                await self.arrives(send, text, "the pieces of a long answer arrive whole and in order", LIMIT)

    @needs("max_chars")
    async def test_characters_at_the_limit_stay_whole(self, tmp_path: Path) -> None:
        """`max_chars` counts characters: not bytes, and not the halves that some platforms count."""
        async with self.running(tmp_path) as (channel, inbox):
            where, limit = (await self.heard(inbox, "hello there")).address, channel.capabilities.max_chars or 0
            for text in ("\U0001f9ed" * limit, "a" + "\U0001f9ed" * (limit - 1), "\u00fc" * limit, "\u4e2d" * limit):
                await self.arrives(
                    lambda text=text: self.send(channel, where, text),  # type: ignore[misc]  # bound at once
                    text,
                    "characters of several bytes arrive whole, as many as max_chars",
                    LIMIT,
                )

    async def test_white_space_inside_is_kept(self, tmp_path: Path) -> None:
        """Code, verse and tables live on it."""
        async with self.running(tmp_path) as (channel, inbox):
            text = "def f():\n    if x:\n        return  1\n\nf()"[: channel.capabilities.max_chars]
            await self.send(channel, (await self.heard(inbox, "hello there")).address, text)
            lines = text.count("\n") + 1  # some far sides read line by line
            await self.count_read(text)
            seen = "\n".join(list(await self.outbox())[-lines:])
        same(text, seen, "white space inside a text is kept", "fairlead.Text")

    @needs("raw")
    async def test_bytes_that_make_no_sense_end_nothing(self, tmp_path: Path) -> None:
        """Bytes that are no text, lines without an end, values of other shapes: the channel lives and hears."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            for data in JUNK:
                with within(SECONDS, "junk of the far side is let go", RUN):
                    await self.raw(data)
                await self.hears_again(inbox)
            await self.sends_again(channel, where, "and sends")
            same(1, await self.count_read("and sends"), "junk of the far side ends nothing", CAN)
            odd = [got for got in inbox.accepted if not got.author.id or not got.address.conversation]
        promise(not odd, "junk is not handed in", RUN, odd)

    @needs("half")
    async def test_half_a_message_is_no_message(self, tmp_path: Path) -> None:
        """The connection broke in the middle of it: it is handed in when it comes whole, and once."""
        text = "one half of it, and here is the other half of it"
        async with self.running(tmp_path) as (_, inbox):
            await self.heard(inbox, "hello there")
            await self.half(text, "event-half")
            await self.hears_again(inbox)
            seen = [words for got in inbox.accepted if "half" in (words := words_of(got.parts))]
            promise(seen in ([], [text]), "half a message is not handed in", RUN, seen)
            if not seen:
                await self.inbound(text, "event-half")
            await self.hears(inbox, "and on it goes")
        seen = [words for got in inbox.accepted if "half" in (words := words_of(got.parts))]
        same([text], seen, "what came in halves is handed in whole, once", SEND)
