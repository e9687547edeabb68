"""The containers on an engine, whoever made them: what people list, and what nobody will miss."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import trio
from attrs import frozen

from fairlead_sandbox.container._engine import Engine
from fairlead_sandbox.container._instance import Instance, Life

__all__ = ["Listing", "collect_garbage", "list_containers"]

LABEL = "fairlead.project"
OLDEST_SECONDS = 86_400.0
"""For a container whose label says no time."""


@frozen
class Listing:
    """One container of Fairlead's on the engine."""

    id: str
    project: str
    plugins: str
    state: str
    """The engine's word: ``created``, ``running``, ``exited``, ..."""
    age: float
    """Seconds."""
    maker: Life
    """Whether the process that made it lives."""
    ours: bool
    """Made by this very process."""
    pid: int
    """Of the process that made it; 0 where the label does not say."""
    uids: str
    expired: bool

    @property
    def forgotten(self) -> bool:
        """Nobody will use it again.

        One whose maker is dead, or that is older than its maker wanted where nobody can tell. A living process
        looks after its own, so nothing that it made is ever forgotten, whatever its age.
        """
        if self.maker == "unknown":
            return self.expired or self.state in ("created", "exited", "dead")
        return self.maker == "dead"


def read_listing(summary: Mapping[str, Any], instance: Instance, now: float) -> Listing:
    """One entry of ``/containers/json``; labels are text that anybody may have written."""
    labels = {str(key): str(value) for key, value in (summary.get("Labels") or {}).items()}
    maker = Instance.parse(labels.get("fairlead.instance", ""), labels.get("fairlead.boot", ""))
    created = float(summary.get("Created") or 0)
    return Listing(
        id=str(summary["Id"]),
        project=labels.get(LABEL, ""),
        plugins=labels.get("fairlead.plugins", ""),
        state=str(summary.get("State", "")),
        age=max(0.0, now - created),
        maker=maker.life() if maker else "unknown",
        ours=maker == instance,
        pid=maker.pid if maker else 0,
        uids=labels.get("fairlead.uids", ""),
        expired=now > _seconds(labels.get("fairlead.expires", ""), created + OLDEST_SECONDS),
    )


def _seconds(text: str, default: float) -> float:
    try:
        return float(text)
    except ValueError:
        return default


async def list_containers(engine: Engine) -> tuple[Listing, ...]:
    """All of Fairlead's on this engine, also of other processes; the youngest first."""
    found = await engine.ask(lambda: engine.api.containers(all=True, filters={"label": LABEL}))
    return tuple(read_listing(summary, engine.instance, time.time()) for summary in found)


async def collect_garbage(engine: Engine, listings: Sequence[Listing] | None = None) -> tuple[Listing, ...]:
    """Remove what is forgotten, and give it; also learns which user ids are in use. `open_engine` does it first."""
    found = await list_containers(engine) if listings is None else listings
    forgotten = tuple(listing for listing in found if listing.forgotten)
    async with trio.open_nursery() as nursery:
        for listing in forgotten:
            nursery.start_soon(engine.remove, listing.id)
    engine.avoid([listing.uids for listing in found if not listing.forgotten])
    return forgotten
