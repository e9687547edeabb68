"""A host with a call that never ends: says which container it runs in, and waits to be killed. For `sandbox.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import trio
from sandbox_world import World

from fairlead_sandbox.container import open_engine
from fairlead_sandbox.runner import Limits, Watch, Work


class Told(Watch):
    """Says the container's name once the call runs."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def progress(self, detail: str) -> None:
        print(self._name, flush=True)


async def main(root: Path) -> None:
    async with open_engine(project="benchmark", roots=[root], collect=False) as engine:
        world = await World.of(engine, root)
        made = await world.make(world.environment())
        work = Work("1", "t", "spin", {}, effect="read", limits=Limits(seconds=60.0))
        await made.runner.call(work, Told(made.container.id))


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
