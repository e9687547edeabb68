"""A process of its own for the tests: ``python child.py COMMAND DIRECTORY``."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import trio

from fairlead import Message, ModelInfo, ModelRequest, Principal, Review, Settings, Text, Usage
from fairlead_budgets._policy import Budgets

PRICED = ModelInfo("m", window=100_000, max_output=1000, input_price=1.0, output_price=10.0)


def review(ident: str) -> Review:
    request = ModelRequest("m", (Message("user", (Text("hello"),), id="m1"),), session=ident, id=ident)
    return Review("model_request", request, ident, "main", Principal("kit:ann"), provider="p", model=PRICED)


async def hold(policy: Budgets, name: str) -> None:
    """Reserve three requests, settle the first, and wait to be killed."""
    for number in range(3):
        assert not await policy.review(review(f"{name}-{number}"))
    await policy.settle(review(f"{name}-0"), Usage(10, 5, cost=0.000_06))
    say("held")
    await told()


async def race(policy: Budgets, name: str) -> None:
    """Ask for a hundred at once, and say how many passed; settle none of them."""
    say("ready")
    await told()
    passed = 0

    async def ask(number: int) -> None:
        nonlocal passed
        verdicts = await policy.review(review(f"{name}-{number}"))
        passed += not verdicts

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(ask, number)
    say(passed)
    await told()


async def spend(policy: Budgets, name: str) -> None:
    """Reserve and settle for ever; each request is printed once it is reserved, and once it is settled."""
    number = 0
    while True:
        asked = review(f"{name}-{number}")
        await policy.review(asked)
        say(["reserved", number])
        await policy.settle(asked, Usage(10, 5, cost=0.001))
        say(["settled", number])
        number += 1


def say(words: object) -> None:
    sys.stdout.write(f"{json.dumps(words)}\n")
    sys.stdout.flush()


async def told() -> None:
    await trio.to_thread.run_sync(partial(sys.stdin.readline))


async def main(command: str, directory: str, name: str, options: str) -> None:
    policy = Budgets(Settings("budgets", json.loads(options), Path(directory)))
    await policy.open()
    try:
        await {"hold": hold, "race": race, "spend": spend}[command](policy, name)
    finally:
        await policy.close()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4])
