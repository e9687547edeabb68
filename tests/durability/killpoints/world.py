"""The world outside of a process that is killed: it remembers what it saw, whatever becomes of the process."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio
from attrs import field, frozen

from fairlead import (
    Address,
    Capabilities,
    Channel,
    Delivery,
    Draft,
    Inbound,
    Inbox,
    Outbound,
    Principal,
    Text,
    Tool,
    ToolCall,
    ToolContext,
    ToolSpec,
)
from fairlead.memory import Note
from fairlead.types import Effect

from .trap import Trap

_QUESTION = re.compile(r"^/approve (\w+)$", re.MULTILINE)

__all__ = ["CONVERSATION", "FarChannel", "FarTool", "Say", "World"]

CONVERSATION = "room"


@frozen
class Say:
    """A message as its platform delivers it, again and again until it is acknowledged."""

    id: str
    text: str
    conversation: str = CONVERSATION


@frozen
class World:
    """What the process can reach of it. The pipe keeps what is told, also where the process dies in that moment."""

    pipe: int
    trap: Trap
    directory: Path
    """Of things that happened once, which outlives every process."""
    acknowledged: frozenset[str] = frozenset()
    """Ids of messages that the platform knows to be kept."""
    life: int = 1
    heard: set[str] = field(factory=set)
    """Ids of messages that were acknowledged in this life."""

    def knows(self, message: str) -> bool:
        """Whether a message was acknowledged, in whatever life."""
        return message in self.acknowledged or message in self.heard

    def tell(self, kind: str, *words: Any) -> None:
        """Something happens out there: the process may die just before it, or just after."""
        self.trap.step("outside", kind)
        self.report(kind, *words)
        self.trap.step("outside", f"after {kind}")

    def leap(self, seconds: int) -> None:
        """Time passes at once, and for those who come later, too."""
        (self.directory / "leapt").write_text(str(self.leapt + seconds))

    @property
    def leapt(self) -> int:
        """Seconds."""
        path = self.directory / "leapt"
        return int(path.read_text()) if path.exists() else 0

    def report(self, kind: str, *words: Any) -> None:
        """For the record only."""
        os.write(self.pipe, json.dumps([kind, *words]).encode() + b"\n")

    def tell_once(self, name: str, kind: str, *words: Any) -> None:
        """Somebody out there does it, and keeps its name in the same step; of what was done before, nothing."""
        self.trap.step("outside", kind)
        with suppress(FileExistsError):
            (self.directory / name).touch(exist_ok=False)
            self.report(kind, *words)
        self.trap.step("outside", f"after {kind}")


class FarChannel(Channel):
    """A platform: what is shown to its people counts, and what it is told of messages."""

    def __init__(
        self,
        world: World,
        says: Iterable[Say],
        capabilities: Capabilities,
        *,
        outcomes: Iterable[Delivery] = (),
    ) -> None:
        """`outcomes`: what the first sends of each life give, without showing anything."""
        self.name = "far"
        self.capabilities = capabilities
        self._world, self._says, self._outcomes = world, tuple(says), list(outcomes)
        self.delivered = trio.Event()
        """All messages of this life are."""
        self.one_by_one = True
        self.again = False
        """The platform delivers also what it knows to be kept."""
        self.slow = False
        self.between: Callable[[], Awaitable[None]] | None = None
        """Awaited before each message, where one waits for the answer to the last."""
        self.choices: Callable[[str], tuple[str, ...]] | None = None
        """What a person types at once under a question."""
        self._choose: Callable[[str, str], None] = lambda *_: None

    async def run(self, inbox: Inbox) -> None:
        inbox.ready("far away")
        async with trio.open_nursery() as people:
            self._choose = partial(self._have_chosen, inbox, people)
            for path in self._world.directory.glob("question-*"):  # it stands there since an earlier life
                self._choose(path.name.partition("-")[2], path.read_text())
            async with trio.open_nursery() as nursery:
                for say in self._says:
                    if self.again or say.id not in self._world.acknowledged:
                        if self.between is not None:
                            await self.between()
                        if self.one_by_one:
                            await self._deliver(inbox, say)
                        else:
                            nursery.start_soon(self._deliver, inbox, say)
            self.delivered.set()
            await trio.sleep_forever()

    def _have_chosen(self, inbox: Inbox, people: trio.Nursery, approval: str, question: str) -> None:
        assert self.choices is not None, "somebody is there"
        for place, word in enumerate(self.choices(question)):
            people.start_soon(self._decide, inbox, approval, f"{word}-{place}")

    async def _decide(self, inbox: Inbox, approval: str, choice: str) -> None:
        word = choice.partition("-")[0]
        self._world.report("chooses", approval, word)
        address = Address(self.name, "", CONVERSATION)
        words = (Text(f"/{word} {approval}"),)
        receipt = await inbox.accept(Inbound(address, Principal("far:ann", "ann"), words, f"{choice}-{approval}"))
        self._world.tell("chosen", approval, word, receipt.status)

    async def _deliver(self, inbox: Inbox, say: Say) -> None:
        address = Address(self.name, "", say.conversation)
        inbound = Inbound(address, Principal("far:ann", "ann"), (Text(say.text),), say.id)
        receipt = await inbox.accept(inbound)
        self._world.tell("acknowledged", say.id, receipt.status)
        self._world.heard.add(say.id)

    async def send(self, outbound: Outbound) -> Delivery:
        if self.slow:
            await trio.sleep(0.002)  # real time: the platform is slow
        else:
            await trio.lowlevel.checkpoint()
        if self._outcomes:
            self._world.tell("not shown")
            return self._outcomes.pop(0)
        text = "\n".join(part.text for part in outbound.parts if isinstance(part, Text))
        question = _QUESTION.search(text) if outbound.kind == "notice" and self.choices is not None else None
        if question is not None:
            self._world.trap.step("outside", "asked")
            (self._world.directory / f"question-{question[1]}").write_text(text)
            self._world.report("asked", outbound.id, question[1])
            self._world.trap.step("outside", "after asked")
            self._choose(question[1], text)
            return Delivery("sent", external_id=f"far-{outbound.id}")
        # What belongs to no session is a word beside: that a message could not be kept.
        self._world.tell("shown" if outbound.session else "aside", outbound.id, outbound.in_reply_to, text)
        return Delivery("sent", external_id=f"far-{outbound.id}")

    async def preview(self, draft: Draft) -> None:
        await trio.lowlevel.checkpoint()
        self._world.tell("draft", draft.id)


class FarTool(Tool):
    """One tool with an effect out there, which counts for the value of its argument ``for``."""

    def __init__(  # all by keyword
        self,
        world: World,
        name: str,
        effect: Effect,
        *,
        remembers: bool = False,
        parallel: bool = True,
        wait: Callable[[], Any] | None = None,
        notes: bool = False,
        tells: str = "",
    ) -> None:
        """`remembers`: somebody out there keeps the calls that were made. `wait`: after the effect, for what it gives.

        `notes`: it also keeps a note of it. `tells`: what its result says besides.
        """
        self.name = name
        self.remembers = remembers
        self._world, self._wait, self._notes, self._tells = world, wait, notes, tells
        parameters = {"type": "object", "properties": {"for": {"type": "string"}}, "required": ["for"]}
        self._spec = ToolSpec(name, "Does it.", parameters, effect, "host", parallel=parallel)

    def specs(self) -> tuple[ToolSpec, ...]:
        return (self._spec,)

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        await trio.lowlevel.checkpoint()
        what = str(call.arguments["for"])
        words = ("effect", self._spec.effect, self.name, what, call.id)
        if self.remembers:
            self._world.tell_once(f"call-{call.id}", *words)
        else:
            self._world.tell(*words)
        if self._notes and context.recall is not None:
            await context.recall.add(Note(f"it was done for {what}", "", id=f"note-{what}", at=context.now()))
        if self._wait is not None:
            await self._wait()
        return f"{self.name} is done for {what}{self._tells and f': {self._tells}'}"
