"""The table ``[isolation]`` of the configuration, and where everything lies."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import fields, frozen

from fairlead.config import Config
from fairlead_sandbox.container import ContainerLimits, Instance, PoolLimits
from fairlead_sandbox.process import ProcessLimits

__all__ = ["PROJECT", "Places", "Walls"]

PROJECT = "fairlead"
"""The label of our containers."""

_MB = 1_000_000


@frozen
class Walls:
    """How much isolated code may use. The schema of the configuration has the same keys and defaults."""

    fallback: str = ""
    """``process``, where that will do for tools that want a container."""
    image: str = ""
    runtime: str = "runsc"
    """For the level kernel."""
    memory_mb: int = 512
    cpus: float = 1.0
    pids: int = 128
    output_mb: int = 16
    workspace_mb: int = 256
    containers: int = 8
    warm: int = 0
    idle_seconds: float = 300.0
    calls: int = 1000
    age_seconds: float = 3600.0
    wait_seconds: float = 30.0

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> Walls:
        """`TypeError`: a key that the schema would have refused."""
        unknown = set(table) - {each.name for each in fields(cls)}
        if unknown:
            raise TypeError(f"isolation has no keys {sorted(unknown)}")
        return cls(**table)

    @property
    def of_containers(self) -> ContainerLimits:
        # The engine refuses more than the machine has.
        cpus = min(self.cpus, float(os.cpu_count() or 1))
        return ContainerLimits(memory_bytes=self.memory_mb * _MB, cpus=cpus, pids=self.pids)

    @property
    def of_processes(self) -> ProcessLimits:
        return ProcessLimits(memory_bytes=self.memory_mb * _MB, processes=self.pids)

    @property
    def of_pool(self) -> PoolLimits:
        return PoolLimits(
            maximum=self.containers,
            max_age=self.age_seconds,
            max_idle=self.idle_seconds,
            max_calls=self.calls,
        )


@frozen
class Places:
    """The directories of an app's isolation."""

    data: Path
    """The app's data directory, absolute."""
    run: Path
    """For sockets, whose paths must be short; removed at the end."""

    @classmethod
    def of(cls, config: Config) -> Places:
        """Nothing is made yet."""
        run = Path(tempfile.gettempdir()).resolve() / f"fairlead-{Instance.current().name}-{secrets.token_hex(6)}"
        return cls(config.data_dir.expanduser().resolve(), run)

    @property
    def cache(self) -> Path:
        """May be deleted while no app runs."""
        return self.data / "cache"

    @property
    def plugins(self) -> Path:
        """Environments that ``fairlead plugins add`` made."""
        return self.data / "plugins"

    @property
    def states(self) -> Path:
        """Which plugins crashed, for other programs to see."""
        return self.data / "states"

    @property
    def work(self) -> Path:
        """A directory of its own for each plugin process."""
        return self.data / "work"

    @property
    def volumes(self) -> Path:
        """The files of sessions."""
        return self.data / "workspaces"

    @property
    def roots(self) -> tuple[Path, ...]:
        """What may be shown to a container; nothing else of the host may."""
        return (self.cache, self.plugins, self.volumes, self.run)

    def prepare(self) -> None:
        for place in (self.cache, self.states, self.work, self.volumes):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(self.run.parent)
        self.run.mkdir(mode=0o700)
        self.run.chmod(0o711)  # guests of other users go through it to their own sockets


_RUN = re.compile(r"fairlead-(?P<instance>.+)-[0-9a-f]{12}")


def _sweep(directory: Path) -> None:
    """Remove what killed hosts left of their sockets."""
    for place in directory.glob("fairlead-*"):
        found = _RUN.fullmatch(place.name)
        maker = Instance.parse(found["instance"], Instance.current().boot) if found else None
        if maker is not None and maker.life() == "dead" and place.stat().st_uid == os.geteuid():
            shutil.rmtree(place, ignore_errors=True)
