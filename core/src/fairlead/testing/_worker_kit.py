"""What the conformance classes of all five kinds share: making a worker, its life cycle, and saying what was broken."""

from __future__ import annotations

import functools
import gc
import logging
import math
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
import trio

from fairlead._codec import encode_event
from fairlead._contracts import Worker
from fairlead._events import Event
from fairlead._work import Finding
from fairlead.testing._applies import does_not_apply

__all__ = [
    "HOSTILE_TEXTS",
    "LifeConformance",
    "WorkerConformance",
    "eventually",
    "is_amount",
    "logged",
    "needs",
    "promise",
    "same",
    "within",
    "writable",
]

W = TypeVar("W", bound=Worker)
Check = Callable[..., Coroutine[Any, Any, None]]

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


async def eventually(probe: Callable[[], Awaitable[object]], words: str, source: str, seconds: float = 10) -> None:
    """A promise of something that need not be there at once; looked at every 20 ms."""
    seen: object = None
    with trio.move_on_after(seconds):
        while not (seen := await probe()):  # noqa: ASYNC110  # what is probed tells nobody
            await trio.sleep(0.02)
    promise(seen, f"{words}, in {seconds} s", source, seen)


def needs(*names: str) -> Callable[[Check], Check]:
    """Mark a check that proves something only where each of these is there: an overridden hook, or what is declared.

    Elsewhere it says that it does not apply, and why; `WorkerConformance.applies` lists all of that.
    """

    def mark(check: Check) -> Check:
        @functools.wraps(check)
        async def checked(self: WorkerConformance[Any], tmp_path: Path) -> None:
            missing = await self.lacking(names, tmp_path)
            if missing:
                raise does_not_apply(" and ".join(self.why_not(name) for name in missing))
            await check(self, tmp_path)

        checked.needs = names  # type: ignore[attr-defined]  # read by `applies`
        return checked

    return mark


class WorkerConformance(Generic[W]):
    """The checks for every kind. Subclass the class of your kind, not this one."""

    pytestmark = pytest.mark.trio

    async def applies(self, tmp_path: Path) -> dict[str, str]:
        """Each check by its name, and what is missing here that it could prove something; empty: it is proven.

        What is missing is the name of a hook that is not overridden, or of something that the worker does not declare.
        """
        checks = {name: getattr(self, name) for name in sorted(dir(type(self))) if name.startswith("test_")}
        return {
            name: ", ".join(await self.lacking(getattr(check, "needs", ()), tmp_path)) for name, check in checks.items()
        }

    async def lacking(self, names: Sequence[str], tmp_path: Path) -> list[str]:
        """Those of the names that are not there."""
        return [name for name in names if not await self.has(name, tmp_path)]

    def why_not(self, name: str) -> str:
        """Why it is not there, in words."""
        hook = callable(getattr(type(self), name, None))
        return f"{name}() is not overridden" if hook else f"{name} is not declared"

    async def has(self, name: str, tmp_path: Path) -> bool:
        """Whether a hook of the kit is overridden."""
        own = next((base for base in reversed(type(self).__mro__) if name in vars(base)), None)
        promise(own, f"what a check needs is a hook, or is declared by the worker: {name!r}", "fairlead.testing")
        return own is not None and getattr(type(self), name) is not vars(own)[name]

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


class LifeConformance(WorkerConformance[W]):
    """What a worker leaves behind, and what it tells."""

    async def secrets(self) -> Sequence[str]:
        """Override: the secrets in the settings of the worker that `make_worker` makes, as plain text."""
        return ()

    async def work(self, worker: W) -> list[object]:
        """Have the opened worker do its work once; gives everything that came from it."""
        raise NotImplementedError

    async def test_kit_knows_what_it_needs(self, tmp_path: Path) -> None:
        """Each check applies, or names the hook or the declaration that it misses."""
        found = await self.applies(tmp_path)
        missing = {name: what for name, what in found.items() if what}
        promise(len(found) > len(missing), "the kit checks something", "fairlead.testing", found)

    async def test_closing_twice_is_safe(self, tmp_path: Path) -> None:
        """After a failure it is not always known whether it was closed."""
        async with self.opened(tmp_path) as worker:
            with within(5, "close() is done", "fairlead.Channel.close"):
                await worker.close()

    async def test_opening_and_closing_leaves_nothing_behind(self, tmp_path: Path) -> None:
        """Each time it lets go of its tasks, threads and open files."""

        async def use() -> None:
            async with self.opened(tmp_path) as worker:
                await self.work(worker)

        await self.leaves_nothing(use)

    async def leaves_nothing(self, use: Callable[[], Awaitable[None]]) -> None:
        """Use a worker three times: after the second and third time there is no more than after the first one."""
        await use()  # what is made once and kept, as imported modules are
        gc.collect()
        before = held()
        for _ in range(2):
            await use()
        gc.collect()

        async def back_to_it() -> bool:
            return all(now <= then for now, then in zip(held(), before, strict=True))

        seen = f"(tasks, threads, files) {before} before"
        await eventually(back_to_it, f"close() lets go of everything; {seen}", "fairlead.Channel.close", 3)

    @needs("secrets")
    async def test_secrets_are_never_shown(self, tmp_path: Path) -> None:
        """Neither in what it gives, nor in its findings, its text, and what it logs."""
        secrets = [secret for secret in await self.secrets() if secret]
        promise(secrets, "secrets() names them", "fairlead.types.Secret")
        with logged() as lines:
            async with self.opened(tmp_path) as worker:
                shown = [worker, *await worker.check(), *await self.work(worker), *await worker.check()]
                texts = [f"{value!r} {value!s}" for value in shown]
        for text in (*texts, *lines):
            for secret in secrets:
                told = text.replace(secret, "(the secret)") if secret in text else ""
                promise(not told, "a secret is shown by nothing but `reveal`", "fairlead.types.Secret", told)


@contextmanager
def logged() -> Iterator[list[str]]:
    """Every line that is logged inside, by whomever, with its tracebacks."""
    lines: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logging.Formatter("%(name)s %(message)s").format(record))

    root, keeper = logging.getLogger(), Keeper()
    level = root.level
    root.addHandler(keeper)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.setLevel(level)
        root.removeHandler(keeper)


def held() -> tuple[int, int, int]:
    """How many tasks, threads and open files there are now; 0 files where the system does not say."""
    threads = [each for each in threading.enumerate() if not each.name.lower().startswith("trio")]  # it keeps idle ones
    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208  # descriptors, not paths
    return trio.lowlevel.current_statistics().tasks_living, len(threads), files


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
