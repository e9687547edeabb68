"""`fairlead run` is killed at the moments that matter: what was said is answered, and answered once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import define

from .far import PASSWORD, Person, World, until
from .relay import Asked, Relay, Told, relaying

CONFIG = """
[channels.matrix]
isolation = "host"
homeserver = "{url}"
user = "{user}"
password = "{password}"
edit_seconds = 0

[providers.rehearsal]

[policies.contacts]
allow = ["matrix:{ann}"]

[policies.rules]

[[policies.rules.rules]]
name = "sums"
effect = "allow"
actions = ["tool_call"]
resources = ["calculate"]
"""
KILLS = int(os.environ.get("FAIRLEAD_KILLS", "4"))


@define
class Machine:
    """A directory where `fairlead run` is started again and again."""

    directory: Path
    relay: Relay
    ann: Person
    bot: Person
    room: str

    @asynccontextmanager
    async def life(self) -> AsyncIterator[subprocess.Popen[bytes]]:
        """From its start to its end by SIGKILL."""
        ours = ("FAIRLEAD_", "OPENAI_", "ANTHROPIC_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment["FAIRLEAD_DATA"] = str(self.directory / "data")
        with (self.directory / "out").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "fairlead_cli", "run"],
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    async def listening(self) -> bool:
        """Whether it has begun to read the stream."""
        return bool(self.relay.positions)

    async def answers(self, *expected: str) -> None:
        """Wait until the results in the room are these, each in a message of its own, in its last form."""
        found: list[str] = []

        async def there() -> bool:
            texts = [content["body"] for content in await self.ann.seen(self.room, self.bot.user_id)]
            found[:] = [text.rpartition(" ")[2].strip(".").replace(",", "") for text in texts]
            return found[-1:] == [expected[-1]]  # drafts of it are shorter

        await until(there)
        assert list(expected) == found


@asynccontextmanager
async def installed(world: World, directory: Path) -> AsyncIterator[Machine]:
    ann, bot = await world.person(), await world.person("bot")
    room = await ann.make_room(bot.user_id)
    await bot.join(room)
    async with relaying(world.synapse.url, world.http) as relay:
        config = CONFIG.format(url=relay.url, user=bot.user_id, password=PASSWORD, ann=ann.user_id)
        (directory / "fairlead.toml").write_text(config)
        machine = Machine(directory, relay, ann, bot, room)
        async with machine.life():  # the first start says where the stream is; what came before is history
            await until(machine.listening)
            await ann.say(room, "What is 1 + 1?")
            await machine.answers("2")
        yield machine


async def stop_at(machine: Machine, moment: Callable[[Asked], bool], *, passes: bool) -> trio.Event:
    """Hold the first request of that kind, before the homeserver has it or after; the event says that it is held."""
    held = trio.Event()

    async def rule(asked: Asked, ask: Callable[[], Awaitable[Told]]) -> Told | None:
        if held.is_set():
            await trio.sleep_forever()  # of this process nothing passes any more
        if not moment(asked):
            return None
        held.set()
        if passes:
            await ask()
        await trio.sleep_forever()
        raise AssertionError("not reached")

    machine.relay.rule = rule
    return held


def is_answer(asked: Asked) -> bool:
    return asked.sends


def is_edit(asked: Asked) -> bool:
    return asked.sends and b"m.replace" in asked.body


@pytest.mark.parametrize(
    ("moment", "passes"),
    [(is_answer, False), (is_answer, True), (is_edit, False), (is_edit, True)],
    ids=["before the answer", "behind the answer", "before its edit", "behind its edit"],
)
async def test_killed_between_message_and_journal(
    world: World, tmp_path: Path, moment: Callable[[Asked], bool], *, passes: bool
) -> None:
    """The message is accepted and the answer not journalled: the next process answers, in one message."""
    async with installed(world, tmp_path) as machine:
        async with machine.life():
            held = await stop_at(machine, moment, passes=passes)
            await machine.ann.say(machine.room, "What is 17 * 23?")
            with trio.fail_after(60):
                await held.wait()
        machine.relay.rule = None
        machine.relay.drop()
        async with machine.life():
            await machine.answers("2", "391")
            await machine.ann.say(machine.room, "What is 1000 + 3?")
            await machine.answers("2", "391", "1003")


async def test_killed_at_any_moment(world: World, tmp_path: Path) -> None:
    """Whatever SIGKILL hits, and whatever is said while nothing runs: answered, in order, once."""
    chance = random.Random(3)  # noqa: S311  # moments, not secrets
    expected = ["2", *(str(int(f"{life}{number}") + 1000) for life in range(KILLS) for number in range(2))]
    async with installed(world, tmp_path) as machine:
        for life in range(KILLS):
            async with machine.life():
                for number in range(2):
                    await machine.ann.say(machine.room, f"What is {life}{number} + 1000?")
                await trio.sleep(chance.uniform(0.5, 1.5))  # real time: moments of another process
        async with machine.life():
            await machine.answers(*expected)
            await machine.ann.say(machine.room, "What is 3000 + 4?")
            await machine.answers(*expected, "3004")


async def test_stranger_is_given_a_code_in_the_room(world: World, tmp_path: Path) -> None:
    """As a notice, in the direct chat; whoever is let in is answered."""
    async with installed(world, tmp_path) as machine:
        bob = await world.person("bob")
        room = await bob.make_room(machine.bot.user_id)
        async with machine.life():
            await bob.say(room, "What is 1 + 1?")
            (text,) = await bob.reads(room, machine.bot.user_id)
            (content,) = await bob.seen(room, machine.bot.user_id)
    assert "m.notice" == content["msgtype"]
    assert "Give this code to whoever runs this" in text
