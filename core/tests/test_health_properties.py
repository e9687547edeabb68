"""Whatever happens in whatever order: windows, counts, probes, and what the journal says of them."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import Any

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import fairlead
from fairlead import errors, events
from fairlead._health import Health
from fairlead.config import Config, ModelRef
from fairlead.testing import RecordingObserver, ScriptedProvider, WallClock, run_virtually
from fairlead.wire import decode_event, encode_event

START = 1_800_000_000.0
KINDS = [
    errors.Overloaded,
    errors.RateLimited,
    errors.BillingFailed,
    errors.AuthenticationFailed,
    errors.ProviderTimeout,
    errors.UnknownModel,
    errors.BrokenStream,
    errors.BadRequest,
    errors.ContextOverflow,
]
FLOORED = (errors.Overloaded, errors.RateLimited)


def make(kind: type[errors.ProviderError], floor: float | None) -> errors.ProviderError:
    error = kind("no", provider="a")
    if isinstance(error, errors.Overloaded | errors.RateLimited):
        error.reset_after = floor
    return error


floors = st.none() | st.floats(0.5, 100_000.0)
failures = st.builds(make, st.sampled_from(KINDS), floors)
keys = st.tuples(st.sampled_from("pq"), st.sampled_from(["", "k"]), st.sampled_from("mn"))
steps = st.tuples(keys, failures | st.none(), st.floats(0.0, 2_000.0))
"""Who was asked, what came of it (None: an answer), and how many seconds later the next is asked."""


def fresh() -> Health:
    return Health(lambda _: "m", lambda _, mark: mark == "m")


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=40))
def test_windows_and_counts(happened: list[tuple[tuple[str, str, str], errors.ProviderError | None, float]]) -> None:
    """Never shorter than the provider asks, never longer for what happens in them, over with the first answer.

    And at each moment the events so far, read from their lines, give the same health as the one that lived them.
    """
    live, written, now = fresh(), list[bytes](), START
    for key, error, later in happened:
        before = live.until(*key)
        if error is None:
            changed = live.answered(*key, now)
            assert 0 == live.until(*key)
        else:
            changed = live.failed(*key, error, now)
            after, floor = live.until(*key), now + (getattr(error, "reset_after", None) or 0.0)
            if type(error) in FLOORED:
                assert after >= floor
            if before > now and not live.is_down(key[0]):
                assert after <= max(before, floor, *(event.until or inf for event in changed)), (
                    "only a new cause is longer"
                )
        written += [encode_event(event) for event in changed]
        folded = fresh()
        folded.take(e for line in written if isinstance(e := decode_event(line), events.ProviderHealth))
        assert live.bad == folded.bad
        now += later


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([kind for kind in KINDS if kind not in FLOORED]), st.lists(st.floats(0.0, 29.0), max_size=20))
def test_failures_of_one_window_count_once(kind: type[errors.ProviderError], moments: list[float]) -> None:
    """However many there are, and however they are spread over it."""
    live = fresh()
    first = live.failed("p", "", "m", kind("no"), START)
    for moment in sorted(moments):
        assert [] == live.failed("p", "", "m", kind("no"), START + moment)
    assert first == live.entries


turns = st.lists(
    st.tuples(st.lists(failures | failures | st.just("ok"), min_size=1, max_size=15), st.floats(0.0, 500.0)), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(turns)
def test_turns_of_an_app(asked: list[tuple[list[Any], float]]) -> None:
    """Where all rest, each provider is asked once at most; and the observers' events give the app's own health."""
    run_virtually(live_through, asked)


async def live_through(asked: list[tuple[list[Any], float]]) -> None:
    outcomes: list[Any] = []

    def next_one(_: fairlead.ModelRequest) -> Any:
        return outcomes.pop(0) if outcomes else "ok"

    providers = [ScriptedProvider([next_one], name=name, repeat=True) for name in "ab"]
    providers[0].credentials = ("work", "home")
    refs = (ModelRef("a", "script"), ModelRef("b", "script"), ModelRef("a", "other"))
    observer, clock = RecordingObserver(), WallClock()
    config = Config(models={"default": refs})
    async with fairlead.open(config, providers=providers, observers=[observer], clock=clock) as app:
        health = app._desk.engine.models.log.health  # noqa: SLF001  # what the test compares
        links = app._desk.engine.models.resolve("default")  # noqa: SLF001  # see above
        chain = [(link.ref.provider, link.ref.credential, link.ref.model) for link in links]
        for script, later in asked:
            outcomes[:] = script
            rest = all(health.until(*key) > clock() for key in chain)
            before = [provider.answered for provider in providers]
            with suppress(errors.TurnFailed):
                await app.ask("hi")
            counts = [provider.answered - count for provider, count in zip(providers, before, strict=True)]
            assert max(counts) <= (1 if rest else 7)
            await trio.sleep(later)  # on the MockClock of `run_virtually`
        await trio.testing.wait_all_tasks_blocked()
        folded = Health(lambda _: "", lambda *_: True)
        folded.take([r.event for r in observer.records if isinstance(r.event, events.ProviderHealth)])
        assert folded.bad == health.bad
