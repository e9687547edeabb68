"""Calls of the probes, and a watcher that keeps what it sees."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
import trio

from fairlead_sandbox.errors import SandboxLost
from fairlead_sandbox.runner import Limits, Outcome, Watch, Work

from .inside_namespace import Sandbox

__all__ = ["INTERRUPTED", "Seen", "lost", "run", "work"]


def work(code: str, call: str = "", **changes: Any) -> Work:
    limits = Limits(**{key: changes.pop(key) for key in list(changes) if key in Limits.__annotations__})
    given = {"effect": "read", "limits": limits, **changes}
    return Work(call or os.urandom(8).hex(), "probes", "run", {"code": code}, **given)


async def run(box: Sandbox, code: str, call: str = "", watch: Watch | None = None, **changes: Any) -> Outcome:
    return await box.runner.call(work(code, call, **changes), watch)


class Seen(Watch):
    """Keeps what it sees."""

    def __init__(self, answer: Any = None) -> None:
        self.pieces: list[tuple[str, str]] = []
        self.details: list[str] = []
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.first = trio.Event()
        self._answer = answer

    async def output(self, stream: str, text: str) -> None:
        self.pieces.append((stream, text))
        self.first.set()

    async def progress(self, detail: str) -> None:
        self.details.append(detail)
        self.first.set()

    async def ask(self, service: str, args: Mapping[str, Any]) -> Any:
        self.asked.append((service, args))
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


INTERRUPTED = "print('in')\nawait trio.sleep(99)"


async def lost(box: Sandbox, seen: Seen) -> None:
    with pytest.raises(SandboxLost):
        await run(box, INTERRUPTED, "c1", seen, effect="once")
