"""What a host pays that embeds the core: its import, its memory, and each call into the thread of the app.

    uv run python tests/benchmarks/embed.py [--rounds 7]

Every host is a process of its own. Import time is CPU time; memory is what is resident, of a host that has imported
asyncio already. A call is measured as wall time, the contestants taking turns in one process: an app that answers
nothing (`call` of a function that returns at once) and an app that answers from a script (`ask`), each against the same
trio function awaited in trio itself, and against a bare `trio.from_thread.run`. Ratios are what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from startup import medians, python, resident_mb

import fairlead
from fairlead import embed
from fairlead.testing import ScriptedProvider

CALLS = 2_000
"""Of one contestant in one round."""
HOSTS = (
    ("a host on threads", "import threading, logging, json"),
    ("a host on asyncio", "import asyncio, logging, json"),
    ("a host on FastAPI and uvicorn", "import fastapi, uvicorn"),
    ("a host on Django", "import django.http, django.urls, django.core.handlers.asgi"),
)
EMBED = "\nimport fairlead.embed"
STARTED = """
from fairlead import embed
from fairlead.testing import ScriptedProvider
app = embed.start(providers=[ScriptedProvider(["yes"])])
app.ask("hi")
"""


def row(what: str, value: str, ratio: str = "") -> None:
    print(f"{what:<58} {value:>12} {ratio:>10}")


# -- calls


async def nothing() -> None:
    """What is called where only the way counts."""
    await trio.lowlevel.checkpoint()


async def timed(act: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    for _ in range(CALLS):
        await act()
    return (time.perf_counter() - began) / CALLS * 1e6


def timed_here(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    for _ in range(CALLS):
        act()
    return (time.perf_counter() - began) / CALLS * 1e6


class BareThread:
    """trio in a thread, and nothing else: what `trio.from_thread.run` needs."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))
        self._thread.start()
        self._ready.wait()

    async def _main(self) -> None:
        self.token, self._done = trio.lowlevel.current_trio_token(), trio.Event()
        self._ready.set()
        await self._done.wait()

    def call(self) -> None:
        trio.from_thread.run(nothing, trio_token=self.token)

    def close(self) -> None:
        self.token.run_sync_soon(self._done.set)
        self._thread.join()


def model() -> ScriptedProvider:
    return ScriptedProvider(["yes"], repeat=True)


async def in_trio() -> tuple[float, float]:
    """Microseconds of a call and of a turn where nothing is crossed."""
    async with fairlead.open(providers=[model()]) as app:
        return await timed(nothing), await timed(lambda: app.ask("hi"))


def from_thread() -> tuple[float, float]:
    with embed.start(providers=[model()]) as app:
        return timed_here(lambda: app.call(nothing)), timed_here(lambda: app.ask("hi"))


async def from_asyncio() -> tuple[float, float]:
    async with embed.start_async(providers=[model()]) as app:
        return await timed(lambda: app.call(nothing)), await timed(lambda: app.ask("hi"))


async def many_from_asyncio() -> float:
    """Microseconds of a turn, of 200 at once."""
    async with embed.start_async(providers=[model()]) as app:
        began = time.perf_counter()
        for _ in range(CALLS // 200):
            await asyncio.gather(*(app.ask("hi") for _ in range(200)))
        return (time.perf_counter() - began) / CALLS * 1e6


def one_round() -> dict[str, float]:
    found: dict[str, float] = {}
    found["call, trio"], found["turn, trio"] = trio.run(in_trio)
    bare = BareThread()
    found["call, bare"] = timed_here(bare.call)
    bare.close()
    found["call, thread"], found["turn, thread"] = from_thread()
    found["call, asyncio"], found["turn, asyncio"] = asyncio.run(from_asyncio())
    found["turn, 200 of asyncio"] = asyncio.run(many_from_asyncio())
    return found


# -- delays


def wait() -> None:
    time.sleep(0.3)


def compute() -> None:
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        pass


def lateness(block: Callable[[], None]) -> float:
    """Milliseconds that trio is late at most (of 95 in 100 looks), while the host blocks its loop."""
    late: list[float] = []

    async def watch() -> None:
        for _ in range(55):
            due = trio.current_time() + 0.005
            await trio.sleep_until(due)
            late.append((trio.current_time() - due) * 1e3)

    async def host() -> None:
        async with embed.start_async(providers=[model()]) as app:
            watching = asyncio.create_task(app.call(watch))
            await app.ask("hi")
            block()
            await watching

    asyncio.run(host())
    return sorted(late)[len(late) * 95 // 100]


def print_import(rounds: int) -> None:
    acts = [python(code) for _, host in HOSTS for code in (host, host + EMBED)]
    figures = medians(rounds, *acts)
    row("import and memory of a host, and what the core adds", "", "")
    for place, (name, host) in enumerate(HOSTS):
        alone, both = figures[2 * place], figures[2 * place + 1]
        before, after, running = (resident_mb(host + code) for code in ("", EMBED, STARTED))
        row(f"{name}: import, CPU", f"{alone:.0f} ms", "1.00x")
        row("  and fairlead.embed", f"+ {both - alone:.0f} ms", f"{both / alone:.2f}x")
        row(f"{name}: resident", f"{before:.0f} MB", "1.00x")
        row("  and fairlead.embed imported", f"+ {after - before:.0f} MB", f"{after / before:.2f}x")
        row("  and an app started and asked", f"+ {running - before:.0f} MB", f"{running / before:.2f}x")


def print_calls(rounds: int) -> None:
    one_round()
    taken = [one_round() for _ in range(rounds)]
    found = {name: statistics.median(each[name] for each in taken) for name in taken[0]}
    bare = found["call, bare"]
    row("\na call that does nothing, wall, against a bare trio.from_thread.run", "", "")
    row("awaited in trio itself", f"{found['call, trio']:.0f} us", f"{found['call, trio'] / bare:.2f}x")
    row("bare trio.from_thread.run", f"{bare:.0f} us", "1.00x")
    row("app.call from a thread", f"{found['call, thread']:.0f} us", f"{found['call, thread'] / bare:.2f}x")
    row("app.call from asyncio", f"{found['call, asyncio']:.0f} us", f"{found['call, asyncio'] / bare:.2f}x")
    turn = found["turn, trio"]
    row("\na turn whose model answers at once, against one in trio", "", "")
    row("fairlead.open, in trio", f"{turn:.0f} us", "1.00x")
    for name, what in (
        ("turn, thread", "embed, one thread"),
        ("turn, asyncio", "embed, one asyncio task"),
        ("turn, 200 of asyncio", "embed, 200 asyncio tasks at once"),
    ):
        row(what, f"{found[name]:.0f} us", f"{found[name] / turn:.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print_import(rounds)
    print_calls(rounds)
    row("\nthe host blocks its loop for 300 ms, waiting: trio is late by", f"{lateness(wait):.1f} ms", "")
    row("the host blocks its loop for 300 ms, computing", f"{lateness(compute):.1f} ms", "")


if __name__ == "__main__":
    main()
