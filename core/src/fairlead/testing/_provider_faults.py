"""The promises about failures: each has its class, says what happened, and keeps the secret."""

from __future__ import annotations

import traceback
from pathlib import Path

from attrs import evolve

from fairlead.errors import (
    AuthenticationFailed,
    BillingFailed,
    BrokenStream,
    ConnectionFailed,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    UnknownModel,
)
from fairlead.testing._applies import applies
from fairlead.testing._provider_base import ERRORS, GENERATE, NO_SERVER, ProviderKit
from fairlead.testing._provider_wire import FAULTS, Fault
from fairlead.testing._worker_kit import promise, same

__all__ = ["ProviderFaults"]

FAILURES: tuple[Fault, ...] = (*FAULTS, "reset", "half a stream", "garbage")
"""Those that end at once."""


class ProviderFaults(ProviderKit):
    """Every fault of a real server."""

    async def test_failures_are_provider_errors(self, tmp_path: Path) -> None:
        """The core decides by the class of the error whether another try, model or credential can help."""
        async with self.opened(tmp_path) as worker:
            seen = await self.failure(worker, await self.failing_request(worker))
        right = isinstance(seen, ProviderError) and type(seen) is not ProviderError
        promise(right, "what fails raises the ProviderError that fits", ERRORS, seen)

    async def test_too_many_requests_are_rate_limited(self, tmp_path: Path) -> None:
        """429 without a time: none is made up."""
        error = await self.typed(tmp_path, "429", RateLimited)
        same(None, getattr(error, "reset_after", 0), "no time of reset is made up", "fairlead.errors.RateLimited")

    async def test_time_of_reset_is_told(self, tmp_path: Path) -> None:
        """429 with ``Retry-After: 7``."""
        error = await self.typed(tmp_path, "429 with a time", RateLimited)
        same(7.0, getattr(error, "reset_after", None), "the time of reset is told", "fairlead.errors.RateLimited")

    async def test_server_error_is_overload(self, tmp_path: Path) -> None:
        """500: another try may help."""
        await self.typed(tmp_path, "500", Overloaded)

    async def test_busy_server_is_overload(self, tmp_path: Path) -> None:
        """529: another try may help."""
        await self.typed(tmp_path, "529", Overloaded)

    async def test_wrong_key_is_told(self, tmp_path: Path) -> None:
        """401: trying again does not help."""
        await self.typed(tmp_path, "401", AuthenticationFailed)

    async def test_account_without_credit_is_told(self, tmp_path: Path) -> None:
        """402."""
        await self.typed(tmp_path, "402", BillingFailed)

    async def test_unknown_model_is_told(self, tmp_path: Path) -> None:
        """404."""
        await self.typed(tmp_path, "404", UnknownModel)

    async def test_connection_that_is_reset_has_failed(self, tmp_path: Path) -> None:
        """Before anything of the answer arrived."""
        await self.typed(tmp_path, "reset", ConnectionFailed)

    async def test_server_that_is_away_has_failed(self, tmp_path: Path) -> None:
        """Nobody listens; and when it is back the next request works."""
        await self.typed(tmp_path, "nobody listens", ConnectionFailed)

    async def test_half_a_stream_is_broken(self, tmp_path: Path) -> None:
        """A part was shown already, which the core must know; never an answer that looks whole."""
        await self.typed(tmp_path, "half a stream", BrokenStream)

    async def test_garbage_in_a_stream_is_broken(self, tmp_path: Path) -> None:
        """A part was shown already."""
        await self.typed(tmp_path, "garbage", BrokenStream)

    async def test_stream_that_stalls_times_out(self, tmp_path: Path) -> None:
        """After `patience`, and not never."""
        await self.typed(tmp_path, "stall", ProviderTimeout, BrokenStream)

    async def test_request_after_a_failure_works(self, tmp_path: Path) -> None:
        """After each kind, with the same worker."""
        able = False
        async with self.opened(tmp_path) as worker:
            request = await self.text_request(worker)
            for fault in FAILURES:
                able = await self.inject(fault)
                if not able:
                    break
                await self.failure(worker, request)
                await self.inject(None)
                await self.ask(worker, request)
        applies(able, NO_SERVER)

    async def test_errors_say_who_and_what(self, tmp_path: Path) -> None:
        """Provider, model, status where there was one, and words."""
        for fault in ("429", "401", "500", "404"):
            seen, _ = await self.faulty(tmp_path, fault)
            promise(isinstance(seen, ProviderError), f"{fault!r} raises a ProviderError", ERRORS, seen)
            assert isinstance(seen, ProviderError)
            promise(seen.problem.strip(), "an error has words", "fairlead.errors.FairleadError", seen)
            found = (bool(seen.provider), bool(seen.model), seen.status)
            same((True, True, int(fault)), found, "an error names provider, model and status", ERRORS)

    async def test_wrong_key_has_a_next_step(self, tmp_path: Path) -> None:
        """What to type or change: nobody else can mend it."""
        error = await self.typed(tmp_path, "401", AuthenticationFailed)
        promise(error.next_step.strip(), "what people must mend has a next_step", ERRORS, error)

    async def test_request_is_not_repeated(self, tmp_path: Path) -> None:
        """The core has the budget of time and the other models: one request is one request."""
        applies(self.wire, "only a server of the kit's counts requests: set `wire`")
        async with self.opened(tmp_path) as worker:
            assert self.server is not None
            request = await self.text_request(worker)
            for fault in FAILURES:
                await self.inject(fault)
                before = len(self.server.requests)
                await self.failure(worker, request)
                count = len(self.server.requests) - before
                same(1, count, f"a request is not tried again by itself ({fault})", GENERATE)

    async def test_secret_is_in_no_error(self, tmp_path: Path) -> None:
        """Neither in its words nor in its causes, also where the server repeats it."""
        applies(self.secret, "the worker has no credential: `secret` is empty")
        able, found = False, list[str]()
        async with self.opened(tmp_path) as worker:
            request = await self.text_request(worker)
            for fault in (*FAILURES, "stall"):
                able = await self.inject(fault)
                if not able:
                    break
                seen = await self.failure(worker, request, self.patience + self.seconds)
                if isinstance(seen, BaseException):
                    shown = "".join(traceback.format_exception(seen)) + repr(seen) + repr(vars(seen))
                    found += [f"{fault}: {seen!r}"] if self.secret in shown else []
        applies(able, NO_SERVER)
        same([], found, "the secret is in no error", "fairlead.Secret")

    async def test_secret_is_in_no_description(self, tmp_path: Path) -> None:
        """Neither in the worker's repr nor in what it says of itself."""
        applies(self.secret, "the worker has no credential: `secret` is empty")
        async with self.opened(tmp_path) as worker:
            answer = await self.ask(worker, await self.text_request(worker))
            shown = f"{worker!r} {worker} {await worker.check()!r} {await worker.models()!r} {answer!r}"
        promise(self.secret not in shown, "the secret is in no description", "fairlead.Secret", type(worker))

    async def test_check_tells_of_a_server_that_is_away(self, tmp_path: Path) -> None:
        """`fairlead doctor` gets findings in time, also then, and nothing is raised."""
        able, findings = False, list[object]()
        async with self.opened(tmp_path) as worker:
            able = await self.inject("nobody listens")
            if able:
                try:
                    findings = [(found.ok, found.next_step) for found in await worker.check()]
                except Exception as error:  # noqa: BLE001  # it is what the check is after
                    findings = [error]
                await self.inject(None)
        applies(able, NO_SERVER)
        wrong = [found for found in findings if isinstance(found, Exception) or (not found[0] and not found[1])]  # type: ignore[index]  # a pair where it is no exception
        same([], wrong, "check() raises nothing, and a bad finding has a next_step", "fairlead.Provider.check")

    async def test_failure_beside_an_answer_harms_nobody(self, tmp_path: Path) -> None:
        """A request that the model refuses and one that it answers, at once."""
        async with self.opened(tmp_path) as worker:
            good = await self.text_request(worker)
            bad = await self.failing_request(worker)
            for _ in range(3):
                seen = await self.failure(worker, evolve(bad, session="bad"))
                promise(isinstance(seen, ProviderError), "what fails raises a ProviderError", ERRORS, seen)
                await self.ask(worker, evolve(good, session="good", tools=()))
