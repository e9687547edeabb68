"""Sessions that nobody needs every day: put away in a file, brought back, or erased when their time is over."""

from __future__ import annotations

import gzip
import json
import os
import re
import time
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import trio

from fairlead import wire
from fairlead.errors import FairleadError, JournalError, SchemaError
from fairlead_cli._failures import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from fairlead import App
    from fairlead.config import Config

    Erase = Callable[[str], Awaitable[bool]]

__all__ = ["archive", "days_of", "expired", "prune_daily", "put_away", "restore"]

DAY = 86_400.0
_ALL = 10**9
_UNITS = {"d": 1.0, "w": 7.0, "h": 1 / 24}
_MAX_BYTES = 2**30
"""Of an archive when it is unpacked: a small file must not fill the memory."""


def days_of(text: str) -> float:
    """``90d``, ``12w``, ``36h`` in days. `Refused`: it is none of these."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([dwh])", text)
    if found is None:
        raise Refused(f"found {text!r}, expected a time such as 90d, 12w or 36h", next_step="--older-than 90d")
    return float(found[1]) * _UNITS[found[2]]


async def expired(app: App, days: float) -> Sequence[str]:
    """The sessions that nobody has used for so long, oldest first; those with work that waits are never among them."""
    limit = time.time() - days * DAY
    infos = await app.sessions.list(limit=_ALL)
    return [info.id for info in reversed(infos) if info.updated < limit and not info.pending]


async def archive(app: App, data_dir: Path, session: str, erase: Erase) -> Path:
    """Write a session to a file under ``archive``, then erase it; the file.

    The file is on the disk before anything is erased. `JournalError`: it has work that waits.
    """
    before = await app.sessions.export(session)
    if any(info.id == session and info.pending for info in await app.sessions.list(limit=_ALL)):
        problem = f"session {session!r} has work that is not finished"
        raise JournalError(problem, session=session, next_step="fairlead run, which finishes it")
    path = _place_of(data_dir / "archive", session)
    _write(path, before)
    if before != await app.sessions.export(session):
        path.unlink()
        problem = f"somebody used session {session!r} while it was written to the archive"
        raise JournalError(problem, session=session, next_step=f"fairlead sessions archive {session}")
    await erase(session)
    return path


async def put_away(app: App, config: Config, session: str, erase: Erase) -> str:
    """What the configuration wants of a session that expires: ``archived to FILE`` or ``erased``."""
    if config.sessions.on_expiry == "archive":
        return f"archived to {await archive(app, config.data_dir, session, erase)}"
    await erase(session)
    return "erased"


async def prune_daily(app: App, say: Callable[[str, str, str], None]) -> None:
    """For as long as it is left running: put away what expires, at once and then once a day. `say`: to the operator."""
    config, days = app.config, app.config.sessions.retention_days
    while days is not None:
        try:
            for name in await expired(app, days):
                say("sessions", f"{name} {await put_away(app, config, name, app.sessions.erase)}", "info")
        except (FairleadError, OSError) as error:  # tomorrow is another day
            say("sessions", f"nothing more is put away today: {error}", "error")
        await trio.sleep(DAY)


async def restore(app: App, path: Path) -> str:
    """Bring back a session from its file, which stays; its name. `Refused`: the file is no archive."""
    try:
        document = wire.loads(_read(path))
        return await app.sessions.restore(document)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror or error}", next_step="fairlead sessions list") from None
    except (zlib.error, EOFError, SchemaError) as error:
        problem = f"{path} is no archive of a session: {getattr(error, 'problem', error)}"
        raise Refused(problem, next_step="fairlead schema session-export") from None


def _place_of(directory: Path, session: str) -> Path:
    """A name that tells people which session it is, and no other session has."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", session).strip("-.")[:80] or "session"
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return directory / f"{name}-{sha256(session.encode()).hexdigest()[:8]}-{stamp}.json.gz"


def _write(path: Path, document: dict[str, Any]) -> None:
    """Whole and on the disk, or not at all; only its owner may read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = gzip.compress(json.dumps(document, ensure_ascii=False).encode("utf-8"))
    part = path.with_name(f"{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor has no path
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":  # a plain export is welcome too
            file.seek(0)
            data = file.read(_MAX_BYTES + 1)
        else:
            file.seek(0)
            data = gzip.GzipFile(fileobj=file).read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise SchemaError(f"it has more than {_MAX_BYTES} bytes", schema="session-export")
    return data
