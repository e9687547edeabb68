"""What the end-to-end tests of isolation share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead.config import Config, PluginConfig
from fairlead_sandbox.process import look_at_machine

from ..workspace import ROOT
from .hosted import configure, missing, require_engine
from .installed import install, on_the_path
from .misbehaviour import CHANNEL, KINDS, NAME


@pytest.fixture(scope="session")
def docker() -> None:
    """The engine of this machine, with the base image."""
    require_engine()


@pytest.fixture(scope="session")
def root() -> None:
    """Files of other users are looked at."""
    if os.geteuid() != 0:
        missing("the files of a sandbox are looked at from outside, which needs root: sudo -E pytest tests/sandbox")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of packages on the path, empty at first; nothing of it may have been imported in the end."""
    directory = tmp_path_factory.mktemp("packages")
    with on_the_path(directory):
        yield directory


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the apps of a module keep what they have, so that each plugin is copied once."""
    return tmp_path_factory.mktemp("apps") / "data"


@pytest.fixture(scope="module")
def wild(packages: Path) -> None:
    """The plugin of all five kinds that does what it is told, installed."""
    require_engine()
    if not trio.run(look_at_machine).bubblewrap:
        missing("plugin processes are isolated by bubblewrap: sudo apt install bubblewrap")
    source = (ROOT / "sandbox/tests/process_hostile_plugin.py").read_text("utf-8") + CHANNEL
    install(packages, NAME, dict.fromkeys(KINDS, "acme_wild"), {"acme_wild/__init__.py": source})


@pytest.fixture
def config(wild: None, data: Path) -> Callable[..., Config]:
    """Makes an app of these kinds of it, in which nothing has crashed so far."""

    def make(*kinds: str, **options: Any) -> Config:
        for path in data.glob("states/*"):
            path.unlink()
        return configure(data, *(PluginConfig(kind, NAME, options=options) for kind in kinds))  # type: ignore[arg-type]  # kinds

    return make
