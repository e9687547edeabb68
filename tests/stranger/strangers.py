"""Distributions that others made: three whole ones in this directory, and small ones that a test writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define, field, frozen

from ..workspace import Environment, uv

HERE = Path(__file__).resolve().parent
WHOLE = ("acme-curfew", "acme-dice", "acme-pager")
LIMIT = 30.0
"""Seconds for what takes one or two, on a busy machine."""


@frozen
class Small:
    """A distribution of one module."""

    name: str
    kind: str
    entry_point: str
    source: str
    api: str = "1.0"

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")

    def write(self, target: Path) -> Path:
        package = target / self.name / "src" / self.package
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(self.source)
        manifest = {"api": self.api, "isolation": "host"}
        (package / "fairlead-plugin.json").write_text(json.dumps(manifest))
        (target / self.name / "pyproject.toml").write_text(
            f'[project]\nname = "{self.name}"\nversion = "4.5.6"\n'
            f'[project.entry-points."fairlead.{self.kind}"]\n{self.entry_point} = "{self.package}"\n'
            f'[build-system]\nrequires = ["hatchling>=1.27"]\nbuild-backend = "hatchling.build"\n'
            f'[tool.hatch.build.targets.wheel]\npackages = ["src/{self.package}"]\n'
        )
        return target / self.name


CROUPIER = Small(
    "acme-croupier",
    "providers",
    "croupier",
    """
from fairlead import ToolCall, ToolResult
from fairlead.hookspecs import hookimpl
from fairlead.testing import ScriptedProvider


def answer(request):
    last = request.history[-1]
    if isinstance(last, ToolResult):
        return f"sorry ({last.error}): {last.text}" if last.error else f"the dice say {last.text}"
    verb, _, count = last.text.partition(" ")
    if verb == "roll":
        return ToolCall("", "roll", {"count": int(count), "seed": 7})
    return "I only roll dice"


@hookimpl
def fairlead_providers(settings):
    return [ScriptedProvider([answer], repeat=True)]
""",
)
"""A provider that is a set of rules, so that a whole gateway of strangers runs without a model."""
RIVAL = Small("rival-dice", "tools", "dice", "raise AssertionError('it was imported')")
"""Claims the name of acme-dice."""
FUTURE = Small("acme-future", "tools", "future", "raise AssertionError('it was imported')", api="2.0")
BROKEN = Small("acme-broken", "tools", "broken", "import a_module_that_nobody_has")
LEAVER = Small("acme-leaver", "policies", "leaver", "raise SystemExit('goodbye')")


def build_all(target: Path, *small: Small) -> Path:
    """Wheels of the whole and the small ones, built away from the checkout."""
    sources = [Path(shutil.copytree(HERE / name, target / "sources" / name)) for name in WHOLE]
    sources += [each.write(target / "sources") for each in small]
    for source in sources:
        uv("build", "--quiet", "--wheel", "--out-dir", target / "wheels", source)
    return target / "wheels"


def write_config(path: Path, tables: Mapping[str, Mapping[str, Any]], **top: Any) -> Path:
    """A fairlead.toml. JSON's texts, numbers and lists are TOML's as well."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"data_dir": str(path.parent / "data"), **top}.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def free_port() -> int:
    """Nobody's, a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        port: int = made.getsockname()[1]
    return port


@define
class Gateway:
    """`fairlead run` in a process of its own."""

    process: trio.Process
    notices: list[dict[str, Any]] = field(factory=list)
    _buffered: bytes = b""

    async def notice(self, subject: str, text: str) -> dict[str, Any]:
        """Wait for a notice."""
        while True:
            found: dict[str, Any] = json.loads(await self._line())
            self.notices.append(found)
            if found.get("subject") == subject and text in found["text"]:
                return found

    async def _line(self) -> bytes:
        assert self.process.stdout is not None
        while b"\n" not in self._buffered:
            more = await self.process.stdout.receive_some()
            assert more, f"the gateway ended after {self.notices}"
            self._buffered += more
        line, _, self._buffered = self._buffered.partition(b"\n")
        return line

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


@asynccontextmanager
async def gateway(environment: Environment, config: Path) -> AsyncIterator[Gateway]:
    """A running gateway. It is killed at the end where it was not stopped."""
    command = [str(environment.bin / "fairlead"), "run", "--json", "--config", str(config)]
    path = f"{environment.bin}:{os.environ['PATH']}"  # bubblewrap lies there too
    env = {"PATH": path, "HOME": str(config.parent), "PYTHONWARNINGS": "error"}
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, env=env, cwd=config.parent)
    try:
        with trio.fail_after(LIMIT):
            yield Gateway(process)
    finally:
        process.kill()
        assert process.stdout is not None
        await process.stdout.aclose()
        with trio.CancelScope(shield=True):
            await process.wait()
            await trio.to_thread.run_sync(_unmount, config.parent)


def _unmount(place: Path) -> None:
    """The files of sessions that a killed gateway left mounted: the next one with a sandbox would do it."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        where = line.split()[1]
        if Path(where).is_relative_to(place):
            subprocess.run(["umount", "--lazy", where], check=True)


@define
class Pager:
    """Somebody's pager."""

    stream: trio.SocketStream
    _buffered: bytes = b""
    _early: list[list[str]] = field(factory=list)

    async def say(self, line: str) -> None:
        await self.stream.send_all(line.encode() + b"\n")

    async def page(self, number: int, text: str) -> None:
        """Say something, and wait until it is taken. The answer may come earlier than that: it is heard afterwards."""
        await self.say(f"PAGE {number} {json.dumps(text)}")
        while (words := await self._line())[0] == "SHOW":
            self._early.append(words)
        assert ["GOT", str(number)] == words

    async def hear(self) -> list[str]:
        """The next line, in at most four words, of which the last may be a JSON string."""
        return self._early.pop(0) if self._early else await self._line()

    async def _line(self) -> list[str]:
        while b"\n" not in self._buffered:
            more = await self.stream.receive_some()
            assert more, "the switchboard hung up"
            self._buffered += more
        line, _, self._buffered = self._buffered.partition(b"\n")
        return line.decode().split(" ", 3)

    async def shown(self) -> str:
        """The text of the next line, which is a message."""
        return await self.confirm(await self.hear())

    async def confirm(self, words: list[str]) -> str:
        """Say that a message is shown; gives its text."""
        verb, number, _, text = words
        assert "SHOW" == verb
        await self.say(f"SHOWN {number}")
        return str(json.loads(text))


@asynccontextmanager
async def pager(where: str, name: str) -> AsyncIterator[Pager]:
    """A pager, connected and known by a name."""
    host, _, port = where.removeprefix("tcp://").partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        made = Pager(stream)
        await made.say(f"HELLO {name}")
        assert ["WELCOME", name] == await made.hear()
        yield made
