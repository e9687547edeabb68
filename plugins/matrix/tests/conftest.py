"""One homeserver for all tests here: it takes seconds to start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from .far import Synapse, World, living, need_synapse


@pytest.fixture(scope="session")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    need_synapse()
    server = Synapse(tmp_path_factory.mktemp("synapse"))
    server.configure()
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
async def world(synapse: Synapse) -> AsyncIterator[World]:
    if not synapse.runs:  # a test that failed has left it so
        synapse.start()
    async with living(synapse) as world:
        yield world
