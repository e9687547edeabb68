"""The far side: a real Synapse, and people who use it with nothing but HTTP."""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import itertools
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import pytest
import trio
from attrs import define, field

from fairlead import Settings
from fairlead.testing import FakeInbox
from fairlead_matrix._channel import MatrixChannel
from fairlead_matrix._options import read_options

SERVER = "localhost"
SHARED_SECRET = "only of these tests"
PASSWORD = "correct horse battery staple"
SECONDS = 60.0
"""For what takes a moment, on a busy machine."""
_GENEROUS = {"per_second": 10_000, "burst_count": 10_000}
_numbers = itertools.count()
T = TypeVar("T")


@define
class Synapse:
    """One homeserver as a process, on loopback, with a database of its own."""

    directory: Path
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def runs(self) -> bool:
        return self._process is not None

    def configure(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        limits = {
            **dict.fromkeys(("rc_message", "rc_registration", "rc_admin_redaction", "rc_joins_per_room"), _GENEROUS),
            "rc_login": dict.fromkeys(("address", "account", "failed_attempts"), _GENEROUS),
            "rc_joins": {"local": _GENEROUS, "remote": _GENEROUS},
            "rc_invites": {"per_room": _GENEROUS, "per_user": _GENEROUS, "per_issuer": _GENEROUS},
            "rc_room_creation": _GENEROUS,
        }
        config = {
            "server_name": SERVER,
            "pid_file": str(self.directory / "pid"),
            "listeners": [
                {
                    "port": self.port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "tls": False,
                    "resources": [{"names": ["client"]}],
                }
            ],
            "database": {"name": "sqlite3", "args": {"database": str(self.directory / "db")}},
            "log_config": str(self.directory / "log.yaml"),
            "media_store_path": str(self.directory / "media"),
            "signing_key_path": str(self.directory / "key"),
            "registration_shared_secret": SHARED_SECRET,
            "macaroon_secret_key": "one",
            "form_secret": "another",
            "report_stats": False,
            "trusted_key_servers": [],
            "bcrypt_rounds": 4,
            "presence": {"enabled": False},
            "max_upload_size": "1M",
            **limits,
        }
        # JSON is YAML as well.
        (self.directory / "config.yaml").write_text(json.dumps(config))
        handlers = {"file": {"class": "logging.FileHandler", "filename": str(self.directory / "log")}}
        logs = {"version": 1, "handlers": handlers, "root": {"level": "WARNING", "handlers": ["file"]}}
        (self.directory / "log.yaml").write_text(json.dumps(logs))
        subprocess.run([*_COMMAND, "--generate-keys", "-c", "config.yaml"], cwd=self.directory, check=True)

    def start(self) -> None:
        with (self.directory / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [*_COMMAND, "-c", "config.yaml"], cwd=self.directory, stdout=out, stderr=out
            )
        deadline = time.monotonic() + 2 * SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self.directory / "out").read_text()
            assert time.monotonic() < deadline, "synapse does not start"
            time.sleep(0.05)  # real time: another process starts

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/health", trust_env=False).is_success
        except httpx2.TransportError:
            return False

    def stop(self, *, hard: bool = False) -> None:
        if self._process is not None:
            (self._process.kill if hard else self._process.terminate)()
            self._process.wait(SECONDS)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()


_COMMAND = (sys.executable, "-m", "synapse.app.homeserver")


def need_synapse() -> None:
    if importlib.util.find_spec("synapse") is None:
        lack = "synapse is not installed: uv sync --all-packages --all-groups, or pip install matrix-synapse"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lack)


@define(eq=False)
class Person:
    """A user of the homeserver with a client of their own."""

    url: str
    user_id: str
    token: str
    http: httpx2.AsyncClient
    _txn: itertools.count[int] = field(factory=itertools.count)

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        response = await self.http.request(
            method,
            self.url + path,
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
            **more,
        )
        assert response.is_success, (method, path, response.status_code, response.text)
        return response.json()

    async def make_room(self, *invited: str, **more: Any) -> str:
        body = {"preset": "private_chat", "invite": list(invited), **more}
        return str((await self.call("POST", "/_matrix/client/v3/createRoom", body))["room_id"])

    async def join(self, room: str) -> None:
        await self.call("POST", f"/_matrix/client/v3/join/{quote(room, safe='')}", {})

    async def invite(self, room: str, user_id: str) -> None:
        await self.call("POST", f"{_room(room)}/invite", {"user_id": user_id})

    async def put(self, room: str, content: Mapping[str, Any], txn: str = "", kind: str = "m.room.message") -> str:
        txn = txn or f"test-{next(self._txn)}"
        path = f"{_room(room)}/send/{kind}/{quote(txn, safe='')}"
        return str((await self.call("PUT", path, content))["event_id"])

    async def say(self, room: str, text: str, txn: str = "", **more: Any) -> str:
        return await self.put(room, {"msgtype": "m.text", "body": text, **more}, txn)

    async def upload(self, data: bytes, kind: str, name: str = "file") -> str:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        url = f"{self.url}/_matrix/media/v3/upload"
        response = await self.http.post(url, content=data, headers=headers, params={"filename": name})
        assert response.is_success, response.text
        return str(response.json()["content_uri"])

    async def download(self, url: str) -> bytes:
        path = f"/_matrix/client/v1/media/download/{url.removeprefix('mxc://')}"
        response = await self.http.get(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
        assert response.is_success, response.text
        return response.content

    async def events(self, room: str) -> Sequence[Any]:
        """All that happened there and can be read, oldest first."""
        params = {"dir": "b", "limit": "1000"}
        chunk = (await self.call("GET", f"{_room(room)}/messages", params=params))["chunk"]
        return list(reversed(chunk))

    async def seen(self, room: str, sender: str) -> list[Any]:
        """The contents of somebody's messages, each in its last form, as a client shows them."""
        shown: dict[str, Any] = {}
        for event in await self.events(room):
            if event["type"] == "m.room.message" and event["sender"] == sender and event["content"]:
                content = event["content"]
                relation = content.get("m.relates_to", {})
                if relation.get("rel_type") == "m.replace":
                    shown[relation["event_id"]] = content["m.new_content"]
                else:
                    shown[event["event_id"]] = content
        return list(shown.values())

    async def reads(self, room: str, sender: str, count: int = 1) -> list[str]:
        """The texts of somebody, as soon as there are that many."""

        async def shown() -> list[str] | None:
            found = await self.seen(room, sender)
            return [content["body"] for content in found] if len(found) >= count else None

        return await until(shown)


def _room(room: str) -> str:
    return f"/_matrix/client/v3/rooms/{quote(room, safe='')}"


@define(eq=False)
class World:
    """A homeserver with people."""

    synapse: Synapse
    http: httpx2.AsyncClient

    async def person(self, name: str = "ann", password: str = PASSWORD) -> Person:
        """A new user, whose name begins so."""
        url = f"{self.synapse.url}/_synapse/admin/v1/register"
        nonce = (await self.http.get(url)).json()["nonce"]
        local = f"{name}{next(_numbers)}x{secrets.token_hex(3)}"
        words = f"{nonce}\x00{local}\x00{password}\x00admin"
        mac = hmac.new(SHARED_SECRET.encode(), words.encode(), hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": local, "password": password, "admin": True, "mac": mac}
        found = (await self.http.post(url, json=body)).json()
        return Person(self.synapse.url, found["user_id"], found["access_token"], self.http)

    async def log_in(self, person: Person, password: str = PASSWORD) -> Person:
        """The same user with another session."""
        identifier = {"type": "m.id.user", "user": person.user_id}
        body = {"type": "m.login.password", "identifier": identifier, "password": password}
        response = await self.http.post(f"{self.synapse.url}/_matrix/client/v3/login", json=body)
        assert response.is_success, response.text
        return Person(self.synapse.url, person.user_id, response.json()["access_token"], self.http)

    async def slow_down(self, user_id: str, per_second: int, burst: int) -> None:
        """A rate limit for one user. 0 and 0: none."""
        admin = await self.person("admin")
        path = f"/_synapse/admin/v1/users/{user_id}/override_ratelimit"
        await admin.call("POST", path, {"messages_per_second": per_second, "burst_count": burst})


@asynccontextmanager
async def living(synapse: Synapse) -> AsyncIterator[World]:
    async with httpx2.AsyncClient(trust_env=False, timeout=SECONDS) as client:
        yield World(synapse, client)


def make_channel(url: str, directory: Path, **options: Any) -> MatrixChannel:
    return MatrixChannel(read_options(Settings("matrix", {"homeserver": url, **options}, data_dir=directory)))


@asynccontextmanager
async def running(channel: MatrixChannel, inbox: FakeInbox | None = None) -> AsyncIterator[FakeInbox]:
    """An open channel that runs; its inbox."""
    inbox = inbox or FakeInbox()
    await channel.open()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run, inbox)
            with trio.fail_after(SECONDS):
                await inbox.wait_ready()
            yield inbox
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await channel.close()


async def joined(person: Person, room: str, user_id: str) -> None:
    """Wait until somebody has come into a room."""

    async def inside() -> bool:
        return user_id in (await person.call("GET", f"{_room(room)}/joined_members"))["joined"]

    await until(inside)


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Look until something is there."""
    with trio.fail_after(SECONDS):
        while True:
            found = await look()
            if found:
                return found
            await trio.sleep(0.03)  # real time: another process does it


async def next_of(inbox: FakeInbox) -> Any:
    with trio.fail_after(SECONDS):
        return await inbox.next()
