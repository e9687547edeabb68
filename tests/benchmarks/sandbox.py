"""The sandbox against its targets: one interleaved run on a real engine, ratios, verdicts.

    uv run python tests/benchmarks/sandbox.py [--quick] [--peers] [--rounds 100] [--cache DIR]

It needs a Docker Engine with the base image (``fairlead sandbox build``), openssl, and a few minutes; ``--quick`` takes
less than one. Everything is done in turn, round by round, so that a slow moment of the machine meets all of it; what
counts are ratios of medians. Behind the verdict stands the same for the quickest tenth of the rounds, which a busy
machine spoils less. L0, the unit, is ``os.fork`` with ``os.waitpid`` in a small process.

A call finds the process ready that was forked for it; *right after another* it waits for the fork. The plugin's tools
are declared as ones that never await (`Tool.immediate`), as plain functions are; *a tool that awaits* is the same
without that word, and has an event loop made for each call. The heavy plugin imports ten large modules, once.
``--peers`` puts other packages for the same work beside it, each in an environment of its own below ``--cache``, made
with uv.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

import trio
from sandbox_acts import (
    Growth,
    app_acts,
    call_acts,
    egress_acts,
    killed_act,
    limit_acts,
    start_acts,
)
from sandbox_egress import running
from sandbox_load import load_rows
from sandbox_memory import memory_rows
from sandbox_peers import Peers, peer_rows
from sandbox_table import Act, Probe, Row, print_machine, print_rows, take_turns
from sandbox_verdicts import rows_of
from sandbox_world import AWAITS, HEAVY, PLUGIN, BareFork, World, as_an_app

from fairlead_sandbox.container import open_engine

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fairlead-benchmarks"


async def measure(world: World, given: argparse.Namespace) -> None:
    """Everything by turns, then load and memory, which need the machine for themselves."""
    plain_environment, heavy_environment = world.environment(), world.environment(HEAVY + PLUGIN)
    every = max(given.rounds // given.starts, 1)
    growth, probe = Growth(), Probe()
    rates: dict[str, float] = {}
    async with contextlib.AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        peers = Peers(given.cache, world.image) if given.peers else None
        if peers is not None:
            stack.callback(peers.close)
            peers.start()
        plain = await stack.enter_async_context(world.sandbox(plain_environment))
        waiting = await stack.enter_async_context(world.sandbox(world.environment(AWAITS)))
        heavy = await stack.enter_async_context(world.sandbox(heavy_environment))
        app = await stack.enter_async_context(as_an_app(world.root, plain_environment, nursery))
        ways = stack.enter_context(running())
        fork = BareFork()
        stack.callback(fork.close)
        acts = [Act("probe", probe), *call_acts(plain, waiting, heavy, fork, world)]
        acts += [*app_acts(app, every), *egress_acts(ways), *limit_acts(plain, growth, every)]
        acts += [*start_acts(world, plain_environment, every), killed_act(world, every)]
        acts += peers.acts(every) if peers is not None else []
        found = await take_turns(acts, given.rounds)
        if peers is not None:
            await peers.load(rates)
        nursery.cancel_scope.cancel()
    for title, rows in rows_of(found, growth.most):
        print_rows(title, rows)
    await section("Many callers", load_rows(world, plain_environment, given.slices, given.seconds, rates))
    await section("Memory", memory_rows(world, plain_environment, given.idle))
    await section("Memory, of a tool that awaits", memory_rows(world, world.environment(AWAITS), given.idle))
    if given.peers:
        print_rows("Beside others", peer_rows(found, rates))
    probe.print_trust(found)


async def section(title: str, rows: Awaitable[Sequence[Row]]) -> None:
    """Lines that take their own time. Where they fail, the others still count."""
    try:
        print_rows(title, await rows)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is told
        print(f"{title} failed: {error!r}\n", flush=True)


async def main(given: argparse.Namespace) -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        root.chmod(0o755)
        async with open_engine(project="benchmark", roots=[root]) as engine:
            print_machine(str(engine.api.version()["Version"]))
            await measure(await World.of(engine, root), given)
    print(f"{time.monotonic() - began:.0f} s")


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: less than a minute, and less sure")
    parser.add_argument("--peers", action="store_true", help="beside llm-sandbox and swe-rex, from PyPI")
    parser.add_argument("--rounds", type=int, help="of calls (default 120, quick 20)")
    parser.add_argument("--starts", type=int, help="of containers (default 15, quick 4)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the others' environments are kept")
    given = parser.parse_args(words)
    quick = given.quick
    given.rounds = given.rounds or (20 if quick else 120)
    given.starts = given.starts or (4 if quick else 15)
    given.slices, given.seconds, given.idle = (1, 2.0, 4) if quick else (4, 4.0, 16)
    return given


if __name__ == "__main__":
    trio.run(main, arguments())
