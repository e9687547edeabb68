"""What the end-to-end tests of isolation share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .hosted import missing, require_engine
from .installed import on_the_path


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
