"""What the conformance classes of all five kinds share: making a worker, its life cycle, and saying what was broken."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import pytest
import trio

from fairlead._codec import encode_event
from fairlead._contracts import Worker
from fairlead._events import Event
from fairlead._work import Finding

__all__ = ["HOSTILE_TEXTS", "WorkerConformance", "is_amount", "promise", "same", "within", "writable"]

W = TypeVar("W", bound=Worker)

HOSTILE_TEXTS = (
    "plain words",
    "two\nlines\n\nand a third",
    "astral \U0001f9ed\U0001f469\u200d\U0001f680 and \u00fcml\u00e4ut and \u4e2d\u6587 and e\u0301",
    "zero\u200bwidth\u200djoiners \u202eright to left\u202c end",
    '"quotes" \'and\' \\backslashes\\ and {"json": [1, null]} and %s %(x)s {0}',
    "<b>markup</b> & *stars* _lines_ `ticks` [link](https://example.org) @everyone /command",
    "'; DROP TABLE notes; -- OR 1=1 NEAR(a b) col:x* AND NOT (",
    "long " * 2000 + "end",
)
"""Texts that break careless code; none begins or ends with white space, which platforms may trim."""
SHOWN = 600


def promise(kept: object, words: str, source: str, seen: object = None) -> None:
    """Fail a check: say which promise is broken, where it is documented, and what was seen."""
    if not kept:
        shown = repr(seen)
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}... ({len(shown)} characters)"
        raise AssertionError(f"broken promise: {words}\n  documented in: {source}\n  seen: {shown}")


def same(expected: object, seen: object, words: str, source: str) -> None:
    """A promise of equality."""
    promise(expected == seen, f"{words}\n  expected: {expected!r:.{SHOWN}}", source, seen)


@contextmanager
def within(seconds: float, words: str, source: str, *, shield: bool = False) -> Iterator[None]:
    """A promise of time. Code that ignores cancellation hangs here, and so is found as well."""
    began = trio.current_time()
    with trio.move_on_after(seconds, shield=shield) as scope:
        yield
    took = trio.current_time() - began
    promise(not scope.cancelled_caught and took <= seconds, f"{words}, in {seconds} s", source, f"{took:.1f} s")


class WorkerConformance(Generic[W]):
    """The checks for every kind. Subclass the class of your kind, not this one."""

    pytestmark = pytest.mark.trio

    async def make_worker(self, tmp_path: Path) -> W:
        """Override: the worker, made and not opened. `tmp_path`: a directory for its files.

        Called more than once in a test; the workers of a test share files and far side.
        """
        raise NotImplementedError(f"{type(self).__name__} must override make_worker(self, tmp_path)")

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        """Override where the worker needs a peer: start the fake server, keep it on `self`, yield, stop it."""
        yield

    @asynccontextmanager
    async def worker(self, tmp_path: Path) -> AsyncIterator[W]:
        """A worker, opened as the core does it, and closed at the end. The far side must be there."""
        made = await self.make_worker(tmp_path)
        made.name = made.name or "kit"
        await made.open()
        try:
            yield made
        finally:
            with within(5, "close() is done", "fairlead.Channel.close", shield=True):
                await made.close()

    @asynccontextmanager
    async def opened(self, tmp_path: Path) -> AsyncIterator[W]:
        """The far side and one opened worker."""
        async with self.far_side(tmp_path), self.worker(tmp_path) as worker:
            yield worker

    async def test_making_has_no_effects_and_opening_can_be_repeated(self, tmp_path: Path) -> None:
        """The core makes workers that it may never open; close() lets go of files, ports and locks."""
        async with self.far_side(tmp_path):
            before = files_below(tmp_path)
            await self.make_worker(tmp_path)
            same(before, files_below(tmp_path), "a worker is made without effects", "fairlead._contracts")
            for _ in range(2):
                async with self.worker(tmp_path):
                    pass

    async def test_check_says_how_it_is(self, tmp_path: Path) -> None:
        """`fairlead doctor` gets findings; each that is bad names the next step."""
        source = "fairlead.Channel.check"
        async with self.opened(tmp_path) as worker:
            with within(10, "check() answers", source):
                for finding in await worker.check():
                    promise(isinstance(finding, Finding), "check() gives findings", source, finding)
                    promise(finding.subject and finding.detail, "a finding says what and how", source, finding)
                    promise(finding.ok or finding.next_step, "a bad finding has a next_step", source, finding)


def writable(event: Event) -> None:
    """The promise of every value that comes from a worker: the journal can write it."""
    try:
        encode_event(event)
    except (ValueError, TypeError) as error:
        promise(False, "what comes from a worker is Unicode and JSON", "fairlead.wire.encode_event", (error, event))


def files_below(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


def is_amount(value: float | None) -> bool:
    """A finite number of zero or more, or nothing known."""
    return value is None or (math.isfinite(value) and value >= 0)
