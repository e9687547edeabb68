"""The way in to one plugin: the addresses of the host that its table names in ``listen``.

A plugin at the level `host` listens by itself, and ``listen`` says nothing to it. A plugin process without bubblewrap
is not given a way in but refused: it can make no Unix sockets, over which its clients come (`process`); so two
listeners for one address, ours and its own, never meet.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import trio

from fairlead.errors import ConfigError
from fairlead_sandbox.ingress import Entrance, Ingress
from fairlead_sandbox.isolator._shelter import start_sheltered

__all__ = ["make_place", "open_way_in"]

SOCKET = "ingress.sock"


async def open_way_in(
    nursery: trio.Nursery,
    subject: str,
    listen: Sequence[str],
    place: Path,
    notice: Callable[..., None],
) -> Ingress | None:
    """Open the addresses, which stay so until the nursery is cancelled. None where nothing is granted.

    `place`: a directory for sockets of this plugin alone. `ConfigError`: an address is malformed, or cannot be had.
    """
    if not listen:
        return None
    try:
        ingress = Ingress(place / SOCKET, listen, partial(notice, subject, level="warning"), mode=0o666)
        opened: Sequence[Entrance] = await start_sheltered(nursery, ingress.serve, partial(notice, subject))
    except ConfigError as error:
        error.path = f"{subject.replace('/', '.')}.{error.path}"
        raise
    notice(subject, f"is reached at {', '.join(f'tcp://{entrance}' for entrance in opened)}", level="info")
    return ingress


def make_place(run: Path) -> Path:
    """A directory that every user may pass, and none but us may look into."""
    place = run / f"in-{secrets.token_hex(4)}"
    place.mkdir(mode=0o711)
    return place
