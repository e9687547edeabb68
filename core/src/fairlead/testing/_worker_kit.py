"""What the conformance classes of all five kinds share: making a worker, its life cycle, and saying what was broken."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import pytest
import trio

from fairlead._contracts import Worker
from fairlead._work import Finding

__all__ = ["HOSTILE_TEXTS", "WorkerConformance", "promise", "within"]

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


def promise(kept: object, words: str, *, source: str, seen: object = None) -> None:
    """Fail a check: say which promise is broken, where it is documented, and what was seen."""
    if not kept:
        shown = repr(seen)
        shown = shown if len(shown) <= 600 else f"{shown[:600]}... ({len(shown)} characters)"  # noqa: PLR2004  # as here
        raise AssertionError(f"broken promise: {words}\n  documented in: {source}\n  seen: {shown}")


@contextmanager
def within(seconds: float, words: str, *, source: str) -> Iterator[None]:
    """Fail a check that is not through in time. Code that ignores cancellation hangs here, and so is found as well."""
    began = trio.current_time()
    with trio.move_on_after(seconds) as scope:
        yield
    took = trio.current_time() - began
    promise(not scope.cancelled_caught and took <= seconds, words, source=source, seen=f"not done after {took:.1f} s")


class WorkerConformance(Generic[W]):
    """The checks for every kind. Subclass the class of your kind, not this one."""

    pytestmark = pytest.mark.trio
    worker_name = "kit"
    """The name that the worker gets, as if from the configuration."""

    async def make_worker(self, tmp_path: Path) -> W:
        """Override: the worker, made and not opened.

        `tmp_path`: an empty directory for its files, the same for each worker of one test. Called more than once in a
        test; the workers of a test then share files and far side.
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
        made.name = made.name or self.worker_name
        await made.open()
        try:
            yield made
        finally:
            with trio.move_on_after(5, shield=True) as scope:
                await made.close()
            promise(not scope.cancelled_caught, "close() is done in 5 s", source="fairlead.Channel.close")

    @asynccontextmanager
    async def opened(self, tmp_path: Path) -> AsyncIterator[W]:
        """The far side and one opened worker."""
        async with self.far_side(tmp_path), self.worker(tmp_path) as worker:
            yield worker

    async def test_making_a_worker_has_no_effects(self, tmp_path: Path) -> None:
        """Files, connections and heavy imports belong into open(): the core makes workers that it may never open."""
        async with self.far_side(tmp_path):
            before = files_below(tmp_path)
            await self.make_worker(tmp_path)
            after = files_below(tmp_path)
        promise(before == after, "a worker is made without effects", source="fairlead._contracts", seen=after)

    async def test_worker_can_be_opened_after_another_was_closed(self, tmp_path: Path) -> None:
        """close() lets go of files, ports and locks, so that a plugin is reconfigured while the app runs."""
        async with self.far_side(tmp_path):
            for _ in range(2):
                async with self.worker(tmp_path):
                    pass

    async def test_check_says_how_it_is(self, tmp_path: Path) -> None:
        """`fairlead doctor` gets findings in 10 s; each that is bad names the next step."""
        source = "fairlead.Channel.check"
        async with self.opened(tmp_path) as worker:
            with within(10, "check() answers in 10 s", source=source):
                findings = await worker.check()
        for finding in findings:
            promise(isinstance(finding, Finding), "check() gives Finding objects", source=source, seen=finding)
            promise(finding.subject and finding.detail, "a finding says what and how", source=source, seen=finding)
            promise(finding.ok or finding.next_step, "a bad finding has a next_step", source=source, seen=finding)


def files_below(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


def is_amount(value: float | None) -> bool:
    """A finite number of zero or more, or nothing known."""
    return value is None or (math.isfinite(value) and value >= 0)
