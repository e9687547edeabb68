"""A real ngircd on loopback, and a client of our own that speaks bare lines to it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import define, field

PROGRAM = shutil.which("ngircd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SECONDS = 30.0
"""For what takes an instant, on a busy machine."""
CONFIG = """
[Global]
Name = irc.test
Info = a server of the tests
AdminInfo1 = nobody
Listen = 127.0.0.1
Ports = {port}
ServerUID = {user}
ServerGID = {group}
MotdPhrase = hello
{password}
[Limits]
MaxConnectionsIP = 0
MaxPenaltyTime = 0
MaxNickLength = 20
MaxJoins = 20
{limits}
[Options]
DNS = no
Ident = no
PAM = no
CloakUserToNick = no
{ssl}
[Channel]
Name = #locked
Modes = +tnk sesame
[Channel]
Name = #quiet
Modes = +tnm
"""


def require_ngircd() -> str:
    """The program, or a skip that says how to get it; a failure in CI."""
    if PROGRAM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("ngircd is not installed: apt-get install ngircd")
    assert PROGRAM is not None
    return PROGRAM


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@define
class Daemon:
    """One server, which can be stopped and started on the same port."""

    directory: Path
    port: int = field(factory=free_port)
    ssl: str = ""
    password: str = ""
    limits: str = ""
    process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        user, group = (
            ("nobody", "nogroup")
            if user == "root"
            else (user, subprocess.check_output(["id", "-gn"], text=True).strip())
        )
        config = self.directory / "ngircd.conf"
        password = f"Password = {self.password}" if self.password else ""
        config.write_text(
            CONFIG.format(port=self.port, user=user, group=group, ssl=self.ssl, password=password, limits=self.limits)
        )
        # Its log goes nowhere: it can become endless, and a pipe that nobody reads would stop it.
        self.process = subprocess.Popen(
            [require_ngircd(), "-n", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with trio.fail_after(SECONDS):
            while not await answers(self.port):
                assert self.process.poll() is None, "ngircd ended by itself"
                await trio.sleep(0.05)  # real time: another process starts

    async def stop(self, *, kill: bool = False) -> None:
        if self.process is not None:
            (self.process.kill if kill else self.process.terminate)()
            await trio.to_thread.run_sync(self.process.wait, SECONDS)
            self.process = None


async def answers(port: int) -> bool:
    try:
        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
    except OSError:
        return False
    return True


@asynccontextmanager
async def serving(**options: str) -> AsyncIterator[Daemon]:
    """A running server."""
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(Path(directory), **options)  # type: ignore[arg-type]  # the texts of the configuration only
        await daemon.start()
        try:
            yield daemon
        finally:
            with trio.CancelScope(shield=True):
                await daemon.stop()


@define
class Person:
    """A client that knows nothing of the channel's code: lines out, lines in."""

    nick: str
    stream: trio.SocketStream
    lines: list[str] = field(factory=list)
    """All that the server has said."""
    _rest: bytes = b""
    _news: trio.Event = field(factory=trio.Event)

    async def say(self, line: str) -> None:
        await self.stream.send_all(line.encode() + b"\r\n")

    async def read(self) -> None:
        """Until the connection ends."""
        try:
            while data := await self.stream.receive_some():
                *whole, self._rest = (self._rest + data).split(b"\r\n")
                for raw in whole:
                    line = raw.decode()
                    if line.startswith("PING"):
                        await self.say(line.replace("PING", "PONG", 1))
                    self.lines.append(line)
                self._news.set()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def expect(self, words: str, count: int = 1) -> str:
        """Wait until that many lines have these words in them; the last one."""
        with trio.move_on_after(SECONDS):
            while len(found := [line for line in self.lines if words in line]) < count:
                self._news = trio.Event()
                await self._news.wait()
            return found[count - 1]
        raise AssertionError(f"expected {count} times {words!r}, found: {self.lines[-30:]}")

    def texts(self, target: str, command: str = "PRIVMSG") -> list[str]:
        """What was said there so far."""
        mark = f" {command} {target} :"
        return [line.split(mark, 1)[1] for line in self.lines if mark in line]

    async def meet(self, nick: str, channel: str) -> None:
        """Wait until somebody is in a channel that we are in ourselves."""
        await self.settle()
        listed = [
            line.split(":")[-1].split()
            for line in self.lines
            if f" 353 {self.nick} " in line and f" {channel} :" in line
        ]
        if not any(nick in (name.lstrip("@+") for name in names) for names in listed):
            await self.expect(f":{nick}!~{nick}@127.0.0.1 JOIN :{channel}")

    async def settle(self) -> None:
        """Wait until the server has done all that was said to it, and we have read it."""
        token = f"settled{len(self.lines)}"
        await self.say(f"PING {token}")
        await self.expect(f"PONG irc.test :{token}")


@asynccontextmanager
async def person(daemon: Daemon, nick: str, *channels: str) -> AsyncIterator[Person]:
    """Somebody who is there."""
    stream = await trio.open_tcp_stream("127.0.0.1", daemon.port)
    async with stream, trio.open_nursery() as nursery:
        someone = Person(nick, stream)
        nursery.start_soon(someone.read)
        if daemon.password:
            await someone.say(f"PASS {daemon.password}")
        await someone.say(f"NICK {nick}\r\nUSER {nick} 0 * :{nick}")
        await someone.expect(" 001 ")
        for channel in channels:
            await someone.say(f"JOIN {channel}")
            await someone.expect(f" 366 {nick} {channel.split()[0]} ")
        yield someone
        nursery.cancel_scope.cancel()
