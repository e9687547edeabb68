"""The table of cooldowns (behaviours 11 and 12), line by line, on a clock that the test turns."""

from __future__ import annotations

from math import inf

import pytest

from fairlead import errors
from fairlead._health import Health
from fairlead.errors import ProviderError
from fairlead.events import ProviderHealth

START = 1_800_000_000.0
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0


def health(*marks: str) -> Health:
    """One whose marks are as given: by default nothing ever changes."""
    good = marks or ("m",)
    return Health(lambda _: good[0], lambda _, mark: mark in good)


def failure(name: str, reset_after: float | None = None) -> ProviderError:
    kind = getattr(errors, name)
    return kind("no", reset_after=reset_after) if reset_after is not None else kind("no")  # type: ignore[no-any-return]  # a ProviderError


TABLE: dict[str, tuple[str, list[float]]] = {
    "busy": ("Overloaded", [30, 60, 300, 300]),
    "no connection": ("ConnectionFailed", [30, 60, 300, 300]),
    "broken stream": ("BrokenStream", [30, 60, 300, 300]),
    "no answer in time": ("ProviderTimeout", [30, 60, 300, 300]),
    "no such model": ("UnknownModel", [30, 60, 300, 300]),
    "rate limit": ("RateLimited", [30.0 * 2**step for step in range(12)] + [DAY, DAY]),
    "no money": ("BillingFailed", [600.0 * 2**step for step in range(8)] + [DAY, DAY]),
    "wrong key": ("AuthenticationFailed", [inf]),
    "the request is not understood": ("BadRequest", [0, 0]),
    "the content is refused": ("ContentRefused", [0, 0]),
    "the request is too large": ("ContextOverflow", [0, 0]),
}
"""Which failure rests for how many seconds, when it comes again each time that the rest is over."""


@pytest.mark.parametrize("case", TABLE)
def test_failures_in_a_row_rest_longer_each_time(case: str) -> None:
    """30, 60, 300 s; doubling from 30 s or 10 min up to a day; until it is changed; not at all."""
    name, expected = TABLE[case]
    known, now, rests = health(), START, []
    for _ in expected:
        known.failed("p", "k", "m", failure(name), now)
        until = known.until("p", "k", "m")
        rests.append(max(until - now, 0) if until else 0)
        now = until if now < until < inf else now
    assert expected == rests


SCOPE = {
    "RateLimited": "model",
    "ProviderTimeout": "model",
    "UnknownModel": "model",
    "Overloaded": "credential",
    "ConnectionFailed": "credential",
    "BrokenStream": "credential",
    "BillingFailed": "credential",
    "AuthenticationFailed": "credential",
}


@pytest.mark.parametrize("name", SCOPE)
def test_what_a_failure_counts_for(name: str) -> None:
    """For the model with this credential, or for all of the credential; never for another credential."""
    known = health()
    known.failed("p", "k", "m", failure(name), START)
    resting = {(key, model) for key in ("k", "other") for model in ("m", "n") if known.until("p", key, model) > START}
    assert ({("k", "m")} if SCOPE[name] == "model" else {("k", "m"), ("k", "n")}) == resting
    assert 0 == known.until("q", "k", "m")


@pytest.mark.parametrize(
    ("asked", "expected"), [(5, 30), (29.9, 30), (31, 31), (3 * HOUR, 3 * HOUR), (2 * DAY, 2 * DAY)]
)
def test_time_of_reset_is_a_floor(asked: float, expected: float) -> None:
    """What the provider says may be longer than our own table, also than a day, and is never cut."""
    known = health()
    known.failed("p", "", "m", failure("RateLimited", asked), START)
    assert expected == known.until("p", "", "m") - START


@pytest.mark.parametrize("asked", [-1.0, float("nan"), float("inf"), 1e300])
def test_time_of_reset_that_is_none_is_not_believed(asked: float) -> None:
    """A server may say anything."""
    known = health()
    known.failed("p", "", "m", failure("Overloaded", asked), START)
    assert 30 == known.until("p", "", "m") - START


def test_counter_survives_its_windows_until_a_success() -> None:
    """Hours after the last window the next rate limit is the fourth; after a success the next one is the first."""
    known, now = health(), START
    for _ in range(3):
        known.failed("p", "", "m", failure("RateLimited"), now)
        now += HOUR
    known.failed("p", "", "m", failure("RateLimited"), now)
    assert 30 * 2**3 == known.until("p", "", "m") - now
    known.answered("p", "", "m", now)
    known.failed("p", "", "m", failure("RateLimited"), now)
    assert 30 == known.until("p", "", "m") - now


@pytest.mark.parametrize("name", ["Overloaded", "RateLimited", "BillingFailed", "AuthenticationFailed"])
def test_window_is_not_extended_by_what_happens_in_it(name: str) -> None:
    """Skips tell it nothing, and a probe that fails changes nothing, so a burst counts once."""
    known = health()
    first = known.failed("p", "", "m", failure(name), START)
    again = [known.failed("p", "", "m", failure(name), START + step) for step in (0.0, 1.0, 29.0)]
    assert (1, [[], [], []]) == (len(first), again)
    assert first == known.entries


def test_longer_floor_in_a_window_counts() -> None:
    """The provider knows best; the counter stays."""
    known = health()
    known.failed("p", "", "m", failure("RateLimited"), START)
    (event,) = known.failed("p", "", "m", failure("RateLimited", 90.0), START + 10)
    assert (1, START + 100) == (event.failures, event.until)


def test_success_resets_its_credential_and_model_only() -> None:
    """The other credential and the other model rest on."""
    known = health()
    known.failed("p", "a", "m", failure("Overloaded"), START)
    known.failed("p", "a", "n", failure("RateLimited"), START)
    known.failed("p", "b", "m", failure("BillingFailed"), START)
    over = known.answered("p", "a", "m", START + 1)
    assert [("a", "", 0)] == [(event.credential, event.model, event.failures) for event in over]
    assert {("a", "n"), ("b", "")} == {(event.credential, event.model) for event in known.entries}


def test_success_of_one_that_is_well_says_nothing() -> None:
    """No event, nothing kept."""
    known = health()
    assert [] == known.answered("p", "", "m", START)
    assert {} == known.bad


def test_wrong_key_rests_until_it_is_changed() -> None:
    """A year is not enough; a new mark is, and then the count begins anew."""
    known = health()
    (event,) = known.failed("p", "", "m", failure("AuthenticationFailed"), START)
    assert (inf, None, "m") == (known.until("p", "", "m"), event.until, event.mark)
    changed = health("another")
    changed.take([event])
    assert [] == changed.entries


def test_provider_is_down_after_failures_of_different_kinds() -> None:
    """Three within a minute, not all of one credential and model: what has not failed yet rests as well."""
    known = health()
    for model in ("m", "n"):
        known.failed("p", "", model, failure("ProviderTimeout"), START)
    assert (False, 0) == (known.is_down("p"), known.until("p", "", "o"))
    known.failed("p", "", "m", failure("ProviderTimeout"), START + 50)
    assert (True, START + 80) == (known.is_down("p"), known.until("p", "", "o"))


@pytest.mark.parametrize("case", ["one model", "too slowly", "rate limits"])
def test_provider_is_not_down(case: str) -> None:
    """One model that fails again and again is one model; so are failures hours apart, and limits are no fault."""
    known = health()
    for step in range(10):
        name = "RateLimited" if case == "rate limits" else "ProviderTimeout"
        model = "m" if case == "one model" else f"m{step}"
        known.failed("p", "", model, failure(name), START + step * (31 if case == "too slowly" else 1))
    assert not known.is_down("p")


def test_provider_that_is_still_down_rests_longer() -> None:
    """30, 60, 300 s: each half-open try that fails is the next step; one that answers ends it."""
    known = health()
    for model in "mno":
        known.failed("p", "", model, failure("ProviderTimeout"), START)
    now, rests = START, []
    for _ in range(4):
        rests.append(known.until("p", "", "x") - now)
        now = known.until("p", "", "x")
        known.failed("p", "", "x", failure("ProviderTimeout"), now)
    assert [30, 60, 300, 300] == rests
    known.answered("p", "", "x", now)
    assert not known.is_down("p")


@pytest.mark.parametrize(
    "name", ["RateLimited", "BillingFailed", "AuthenticationFailed", "BadRequest", "ContextOverflow"]
)
def test_provider_that_says_no_is_not_down(name: str) -> None:
    """It answers."""
    known = health()
    for model in "mno":
        known.failed("p", "", model, failure("ProviderTimeout"), START)
    changed = known.failed("p", "", "x", failure(name), START + 30)
    assert not known.is_down("p")
    assert ("outage", 0) in [(event.cause, event.failures) for event in changed]


def test_reset_by_an_operator() -> None:
    """All of the provider, nothing of another."""
    known = health()
    known.failed("p", "a", "m", failure("BillingFailed"), START)
    known.failed("p", "b", "m", failure("RateLimited"), START)
    known.failed("q", "", "m", failure("RateLimited"), START)
    assert 2 == len(known.reset("p", START))
    assert ["q"] == [event.provider for event in known.entries]


def test_fold_of_a_strange_event_does_no_harm() -> None:
    """A reset of what nobody knows."""
    known = health()
    known.take([ProviderHealth(provider="p", cause="general", failures=0)])
    assert {} == known.bad
