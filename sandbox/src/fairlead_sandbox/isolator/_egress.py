"""The way out of one plugin: its proxy on the host, and what is told of its decisions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import trio

from fairlead_sandbox.egress import Decision, Egress, SecretGrant

__all__ = ["WaysOut"]

SOCKET = "egress.sock"


class WaysOut:
    """Makes proxies, each with a directory of its own for its socket."""

    def __init__(self, run: Path, notice: Callable[..., None]) -> None:
        self._run = run
        self._notice = notice
        self._count = itertools.count()

    async def open(
        self, nursery: trio.Nursery, subject: str, hosts: Sequence[str], secrets: Mapping[str, SecretGrant]
    ) -> Path | None:
        """The socket of a new proxy, which runs in `nursery` until that is cancelled. None where nothing is granted.

        `ConfigError`: a grant is malformed.
        """
        if not hosts:
            return None
        place = self._run / str(next(self._count))
        place.mkdir(mode=0o711)
        proxy = Egress(place / SOCKET, hosts, secrets, self._teller(subject), mode=0o666)
        await nursery.start(proxy.serve)
        return proxy.socket_path

    def _teller(self, subject: str) -> Callable[[Decision], None]:
        def tell(decision: Decision) -> None:
            where = f"{decision.host}:{decision.port}" if decision.host else "somewhere"
            if not decision.allowed:
                why = decision.detail or decision.reason
                self._notice(subject, f"was not let out to {where}: {why}", level="warning")
            elif decision.closed:
                moved = f"{decision.bytes_up} bytes up, {decision.bytes_down} down"
                self._notice(subject, f"was out at {where} ({decision.way}): {moved}", level="info")

        return tell
