"""Opening the engine: where it is, whether it answers, and what others have left on it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from fairlead_sandbox.container._engine import Engine
from fairlead_sandbox.container._facts import EngineFacts
from fairlead_sandbox.container._orphans import collect_garbage
from fairlead_sandbox.container._supervisor import inside_mount
from fairlead_sandbox.container._threads import in_thread
from fairlead_sandbox.container._translate import mending, translated
from fairlead_sandbox.errors import EngineUnavailable

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["open_engine"]

DEFAULT_HOST = "unix:///var/run/docker.sock"
PING_SECONDS = 5.0
"""In which an engine says that it is there; one with much to do takes milliseconds."""


@contextlib.asynccontextmanager
async def open_engine(
    *, project: str, roots: Sequence[Path], host: str = "", seconds: float = 30.0, collect: bool = True
) -> AsyncIterator[Engine]:
    """The engine at `host` (by default ``DOCKER_HOST``, or this machine's own), for the time of the block.

    `roots`: our own directories; beside them and the code of `inside`, nothing of the host can be mounted.
    `seconds`: how long an answer may take.
    `collect`: first remove what processes left that are gone (`collect_garbage`).
    `EngineUnavailable` where none answers. At the end of the block its containers are gone.
    """
    address = host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
    scheme, _, path = address.partition("://")
    if scheme != "unix":
        problem = f"the engine at {address} is not this machine's own: it cannot see the directories of plugins"
        raise EngineUnavailable(problem, next_step=f"export DOCKER_HOST={DEFAULT_HOST}", floor="container")
    api, facts = await in_thread(lambda: _connect(address, path, seconds), undo=lambda made: made[0].close())
    engine = Engine(api, path, facts, project, (*roots, inside_mount().source))
    try:
        if collect:
            await collect_garbage(engine)
        yield engine
    finally:
        with trio.CancelScope(shield=True):
            await engine.aclose()


def _connect(address: str, path: str, seconds: float) -> tuple[APIClient, EngineFacts]:
    from docker import APIClient  # noqa: PLC0415  # 90 ms that only users of containers should pay

    _knock(path, seconds)
    with translated():
        api = APIClient(base_url=address, version="auto", timeout=seconds)  # type: ignore[arg-type]  # any number will do
        try:
            facts = EngineFacts.of(api.version(), api.info())
        except BaseException:
            api.close()
            raise
    return api, facts


def _knock(path: str, seconds: float) -> None:
    """Whether somebody is there and answers: the SDK loses its own socket where nobody does.

    An engine that hangs takes connections and says nothing. Whoever calls a tool then should not wait for as long as an
    answer may take that is work.
    """
    with socket.socket(socket.AF_UNIX) as knock:
        knock.settimeout(min(seconds, PING_SECONDS))
        try:
            knock.connect(path)
            knock.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            knock.recv(1)
        except OSError as error:
            mend = mending(error)
            problem = f"no Docker Engine answers at {path}: {error.strerror or error}"
            raise EngineUnavailable(problem, next_step=mend, floor="container") from error
