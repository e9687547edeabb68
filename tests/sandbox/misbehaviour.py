"""An app with a plugin of all five kinds that misbehaves as it is told, in the default places."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import define

import fairlead
from fairlead import App, ModelRequest, Settings, ToolCall, ToolContext, ToolResult
from fairlead.config import Config
from fairlead.errors import FairleadError, SessionNotFound
from fairlead.events import AnswerDelivered
from fairlead.testing import CapturingChannel, ScriptedProvider
from fairlead_sqlite import SqliteMemory

from .hosted import Notices

NAME = "acme-wild"
KINDS = ("channels", "memories", "policies", "providers", "tools")
SECONDS = 60.0
"""For what takes some, on a busy machine."""
CHANNEL = '''

class WildChannel(HostileChannel):
    """Reads messages from files that somebody lays into its directory."""

    def __init__(self, settings: Settings) -> None:
        self.directory = Path(settings.data_dir)

    async def run(self, inbox: Inbox) -> None:
        from fairlead import Address, Inbound, Principal

        inbox.ready("in files")
        while True:
            for path in sorted(self.directory.glob("*.message")):
                text = Text(path.read_text())
                await inbox.accept(
                    Inbound(Address(self.name, "", "files"), Principal("files:ann", "ann"), (text,), path.name)
                )
                path.unlink()
            await trio.sleep(0.05)


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    begin(settings)
    return [WildChannel(settings)]
'''


def obey(request: ModelRequest) -> ToolCall | str:
    """Calls the tool that it is told to, or says what it has heard."""
    last = request.history[-1]
    if isinstance(last, ToolResult):
        return f"{last.error}: {last.text}"
    if last.text.startswith("{"):
        return ToolCall("", **json.loads(last.text))
    return last.text


@define
class Clock:
    """The machine's, from which a test takes the time that a model must not be asked."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Journal(SqliteMemory):
    """Without recall, so that the recall of the plugin is the one that counts."""

    async def open(self) -> None:
        await super().open()
        self.recall = None


async def look(word: str, context: ToolContext) -> str:
    """Search the memory."""
    assert context.recall is not None
    return (await context.recall.search("", word))[0].text


@define
class Scene:
    """An app with the plugin in it, and a channel and a provider of its own."""

    app: App
    channel: CapturingChannel
    notices: Notices
    clock: Clock
    count: int = 0

    async def use(self, kind: str, word: str) -> str:
        """Have the plugin's worker of this kind do what the word says; its answer, or how it failed."""
        self.clock.ahead += 3600.0  # a model that has failed is asked again
        try:
            return str(await getattr(self, f"_{kind}")(word))
        except FairleadError as error:
            return f"{type(error).__name__}: {error.problem}"

    async def _providers(self, word: str) -> str:
        return (await self.app.ask(word, session="providers", model=f"{NAME}/m")).text

    async def _tools(self, word: str) -> str:
        order = {"tool": "act", "arguments": {"word": word}}
        return (await self.app.ask(json.dumps(order), session="tools")).text.removeprefix(": ")

    async def _memories(self, word: str) -> str:
        order = {"tool": "look", "arguments": {"word": word}}
        return (await self.app.ask(json.dumps(order), session="memories")).text.removeprefix(": ")

    async def _policies(self, word: str) -> str:
        return "fine" if (await self.app.ask(word, session="policies")).text == word else "changed"

    async def _channels(self, word: str) -> str:
        """A message comes in over it, and the answer to it is the word that it shall send."""
        self.count += 1
        name = f"main/{NAME}//files"
        seen = len(await self._delivered(name))
        place = self.app.config.data_dir / "work" / f"channels-{NAME}"
        new = place / f"{self.count:03}.new"
        new.write_text(word)
        new.chmod(0o644)
        new.rename(new.with_suffix(".message"))
        while len(found := await self._delivered(name)) == seen:  # noqa: ASYNC110  # another process sends
            await trio.sleep(0.05)  # real time: another process sends
        return "fine" if found[-1].status == "sent" else found[-1].status

    async def _delivered(self, session: str) -> Sequence[AnswerDelivered]:
        try:
            records = await self.app.sessions.records(session)
        except SessionNotFound:  # the first message has not arrived
            return ()
        return [record.event for record in records if isinstance(record.event, AnswerDelivered)]

    async def hello(self) -> float:
        """A message over the other channel, in another session: it must be answered; the seconds that it took."""
        began = trio.current_time()
        await self.channel.say("hello", conversation="others")
        with trio.fail_after(10):
            while "hello" not in "".join(part.text for part in (await self.channel.next()).parts):  # type: ignore[union-attr]  # text
                continue
        return trio.current_time() - began


@asynccontextmanager
async def scene(config: Config, tmp_path: Path) -> AsyncIterator[Scene]:
    notices, channel, clock = Notices(), CapturingChannel(), Clock()
    async with (
        fairlead.open(
            config,
            channels=[channel],
            providers=[ScriptedProvider([obey], repeat=True)],
            memories=[Journal(Settings("journal", {}, tmp_path))],
            tools=[look],
            observers=[notices],
            clock=clock,
        ) as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(app.serve)
        yield Scene(app, channel, notices, clock)
        nursery.cancel_scope.cancel()


async def misbehave(made: Scene, kind: str, word: str) -> None:
    """It fails in words or goes on; and afterwards it works, perhaps as another process."""
    with trio.fail_after(SECONDS):
        said = await made.use(kind, word)
        if word in ("throw", "leave", "exit", "crash"):
            assert "fine" != said, (kind, word)
        for _ in range(20):
            if (said := await made.use(kind, "do nothing")) == "fine":
                return
        raise AssertionError(f"{kind} after {word}: {said}")


OTHERS = ("channels", "memories", "providers", "tools")
"""A policy has a say in everybody's messages; it is tried by itself."""
