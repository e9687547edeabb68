"""What a turn makes of the cooldowns: rotation, retries, probes, the message, fallback and larger windows."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import fairlead
from fairlead import ModelInfo, errors, events
from fairlead.config import Config, Limits, ModelRef
from fairlead.testing import FakePolicy, Interrupted, RecordingObserver, ScriptedProvider, WallClock, calls

BUSY = errors.Overloaded("busy", provider="a")
LIMITED = errors.RateLimited("slow down", provider="a", reset_after=100.0)


def keyed(*script: Any, name: str = "a", keys: tuple[str, ...] = ("work", "home"), **more: Any) -> ScriptedProvider:
    """A provider with several keys."""
    provider = ScriptedProvider(script, name=name, **more)
    provider.credentials = keys
    return provider


def chain(*names: str, **more: Any) -> Config:
    return Config(models={"default": tuple(ModelRef(name, "script") for name in names)}, **more)


def used(provider: ScriptedProvider) -> list[str]:
    return [request.credential for request in provider.requests]


async def failures(app: fairlead.App, session: str = "s") -> list[tuple[str, str, str]]:
    found = [record.event for record in await app.sessions.records(session)]
    return [(e.provider, e.credential, e.error) for e in found if isinstance(e, events.ModelFailed)]


# -- credentials


async def test_next_credential_is_used_where_the_first_fails(autojump_clock: object) -> None:
    """At once, without a pause, and it stays so while the first one cools down."""
    provider = keyed(LIMITED, "one", "two", "three")
    async with fairlead.open(providers=[provider], clock=WallClock()) as app:
        began = trio.current_time()
        assert "one" == (await app.ask("hi", session="s")).text
        assert began == trio.current_time()
        await app.ask("hi", session="s")
        await trio.sleep(101)
        await app.ask("hi", session="s")
        assert [("a", "work", "RateLimited")] == await failures(app)
    assert ["work", "home", "home", "work"] == used(provider)


async def test_named_credential_is_the_only_one(autojump_clock: object) -> None:
    """A model whose link names its key is never asked with another one."""
    config = Config(models={"default": (ModelRef("a", "script", credential="home"), ModelRef("b", "script"))})
    provider = keyed(errors.BillingFailed("no money", provider="a"))
    async with fairlead.open(config, providers=[provider, ScriptedProvider(["b"], name="b")]) as app:
        assert "b" == (await app.ask("hi")).text
    assert ["home"] == used(provider)


async def test_explicit_model_rotates_its_credentials(autojump_clock: object) -> None:
    """No other model is asked, but the same one with another key."""
    provider = keyed(LIMITED, "from home")
    other = ScriptedProvider(["b"], name="b")
    async with fairlead.open(chain("a", "b"), providers=[provider, other]) as app:
        assert "from home" == (await app.ask("hi", model="a/script")).text
    assert 0 == other.answered


@pytest.mark.parametrize("error", [errors.BadRequest("odd"), errors.ContentRefused("no")])
async def test_request_that_is_refused_is_not_sent_with_another_key(
    error: errors.ProviderError, autojump_clock: object
) -> None:
    """The same model would say the same; the next model may not, and nobody cools down."""
    provider, other = keyed(error), ScriptedProvider(["b"], name="b")
    async with fairlead.open(chain("a", "b"), providers=[provider, other]) as app:
        assert "b" == (await app.ask("hi")).text
        assert [] == list(app.health)
    assert ["work"] == used(provider)


async def test_credentials_that_are_no_names_are_a_report(autojump_clock: object) -> None:
    """The plugin's fault, told when it is opened."""
    from fairlead._workers import _check_declared  # noqa: PLC0415  # the one test of it

    provider = ScriptedProvider()
    for wrong in ((), ["a"], "ab", (1,)):
        provider.credentials = wrong  # type: ignore[assignment]  # the case
        with pytest.raises(TypeError, match="expected names as `credentials`"):
            _check_declared(provider)


# -- retries


async def test_only_candidate_is_asked_again_after_a_pause(autojump_clock: object) -> None:
    """Three times at most, with a longer pause each time, about half a second and a second."""
    provider = ScriptedProvider([BUSY, errors.ConnectionFailed("reset"), "at last"], name="a")
    async with fairlead.open(providers=[provider], clock=WallClock()) as app:
        began = trio.current_time()
        assert "at last" == (await app.ask("hi", session="s")).text
        assert 0.75 <= trio.current_time() - began <= 2.25
        assert ["Overloaded", "ConnectionFailed"] == [error for _, _, error in await failures(app)]
        assert [] == list(app.health)


async def test_it_is_given_up_after_three_tries(autojump_clock: object) -> None:
    """The message has the last words of the provider and the moment from which another try makes sense."""
    provider = ScriptedProvider([BUSY] * 3, name="a")
    clock = WallClock()
    async with fairlead.open(providers=[provider], clock=clock) as app:
        with pytest.raises(errors.TurnFailed) as caught:
            await app.ask("hi")
        assert [1] == [event.failures for event in app.health]
    assert 3 == provider.answered
    assert caught.value.problem.startswith("No model could answer: busy. The next try makes sense in ")
    assert caught.value.problem.endswith(" seconds (08:00:30 UTC)")


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (errors.RateLimited("short", reset_after=2.0), 3),
        (errors.RateLimited("long", reset_after=60.0), 1),
        (errors.RateLimited("unknown"), 1),
        (errors.Overloaded("long", reset_after=60.0), 1),
        (errors.AuthenticationFailed("wrong"), 1),
        (errors.UnknownModel("which?"), 1),
        (RuntimeError("a bug"), 1),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_tried_again(error: Exception, tries: int, autojump_clock: object) -> None:
    """What may be over in a few seconds; never before the moment that the provider names."""
    provider = ScriptedProvider([error] * 3, name="a")
    async with fairlead.open(providers=[provider], clock=WallClock()) as app:
        began = trio.current_time()
        with pytest.raises(errors.TurnFailed):
            await app.ask("hi")
        assert trio.current_time() - began >= (4.0 if tries == 3 else 0.0)
    assert tries == provider.answered


async def test_slow_failure_is_not_repeated(autojump_clock: object) -> None:
    """All tries together begin within 8 s."""
    provider = ScriptedProvider([BUSY] * 3, name="a", delay=7.9)
    async with fairlead.open(providers=[provider], clock=WallClock()) as app:
        with pytest.raises(errors.TurnFailed, match="busy"):
            await app.ask("hi")
    assert 1 == provider.answered


async def test_pause_that_outlasts_the_turn_is_not_waited_for(autojump_clock: object) -> None:
    """The turn fails with what the provider said, not with its time."""
    provider = ScriptedProvider([errors.RateLimited("slow down", reset_after=5.0)] * 2, name="a")
    async with fairlead.open(Config(limits=Limits(seconds=3.0)), providers=[provider], clock=WallClock()) as app:
        began = trio.current_time()
        with pytest.raises(errors.TurnFailed, match="slow down"):
            await app.ask("hi")
        assert began == trio.current_time()


async def test_free_link_is_asked_before_a_retry(autojump_clock: object) -> None:
    """A pause is only for those who have nobody else; the first link is then the one that is tried again."""
    first = ScriptedProvider([BUSY, "from a"], name="a")
    second = ScriptedProvider([errors.Overloaded("busy too")], name="b")
    async with fairlead.open(chain("a", "b"), providers=[first, second], clock=WallClock()) as app:
        assert "from a" == (await app.ask("hi", session="s")).text
        assert [("a", "", "Overloaded"), ("b", "", "Overloaded")] == await failures(app)


async def test_every_try_passes_the_policies(autojump_clock: object) -> None:
    """Each is a crossing of its own, with an id of its own."""
    policy = FakePolicy(lambda _: None, ["model_request"])
    provider = ScriptedProvider([BUSY, BUSY, "ok"], name="a")
    async with fairlead.open(providers=[provider], policies=[policy], clock=WallClock()) as app:
        await app.ask("hi")
    assert 3 == len(
        {review.subject.id for review in policy.reviews if isinstance(review.subject, fairlead.ModelRequest)}
    )


# -- cooldowns


async def test_link_that_cools_down_is_skipped(autojump_clock: object) -> None:
    """Without a request, an event or a change of its window; when that is over it comes first again."""
    first = ScriptedProvider([BUSY, "from a"], name="a")
    second = ScriptedProvider(["b"], name="b", repeat=True)
    async with fairlead.open(chain("a", "b"), providers=[first, second], clock=WallClock()) as app:
        for _ in range(3):
            assert "b" == (await app.ask("hi", session="s")).text
            await trio.sleep(9)
        assert 1 == len(await failures(app))
        before = list(app.health)
        await trio.sleep(4)
        assert "from a" == (await app.ask("hi", session="s")).text
        assert (1, []) == (len(before), list(app.health))


async def test_all_that_cool_down_are_probed_once_in_a_turn(autojump_clock: object) -> None:
    """One request of each provider, and then the moment of the soonest, in words and in UTC."""
    first = keyed(*[errors.RateLimited("slow", reset_after=step) for step in (100.0, 700.0, 100.0)])
    second = ScriptedProvider([errors.BillingFailed("no money")] * 2, name="b")
    async with fairlead.open(chain("a", "b"), providers=[first, second], clock=WallClock()) as app:
        with pytest.raises(errors.TurnFailed):
            await app.ask("hi", session="s")
        await trio.sleep(10)
        with pytest.raises(errors.TurnFailed) as caught:
            await app.ask("hi", session="s")
    assert (["work", "home", "work"], 2) == (used(first), second.answered)
    assert caught.value.problem.endswith("The next try makes sense in 100 seconds (08:01:50 UTC)")


async def test_probe_that_is_answered_ends_the_cooldown(autojump_clock: object) -> None:
    """The turn has its answer, and later calls of the same turn are ordinary ones."""
    provider = ScriptedProvider([BUSY, BUSY, BUSY, calls(("nothing", {})), "well"], name="a")
    async with fairlead.open(providers=[provider], clock=WallClock()) as app:
        with pytest.raises(errors.TurnFailed):
            await app.ask("hi", session="s")
        assert "well" == (await app.ask("hi", session="s")).text
        assert [] == list(app.health)


async def test_moment_is_told_also_of_a_model_that_nobody_named(autojump_clock: object) -> None:
    """The first one that its provider lists: it rests under its own name."""
    async with fairlead.open(providers=[ScriptedProvider([LIMITED], name="a")], clock=WallClock()) as app:
        with pytest.raises(errors.TurnFailed, match=r"in 100 seconds \(08:01:40 UTC\)"):
            await app.ask("hi")
        assert ["script"] == [event.model for event in app.health]


async def test_probe_that_fails_is_not_tried_again(autojump_clock: object) -> None:
    """Not even where that would help somebody who does not rest."""
    provider = ScriptedProvider([BUSY] * 4, name="a")
    async with fairlead.open(providers=[provider], clock=WallClock()) as app:
        for expected in (3, 4):
            with pytest.raises(errors.TurnFailed, match="busy"):
                await app.ask("hi")
            assert expected == provider.answered


async def test_one_probe_in_a_turn_also_over_several_calls_of_the_model(autojump_clock: object) -> None:
    """A provider that answers once and is limited again is asked no second time as a probe."""
    provider = ScriptedProvider([LIMITED, calls(("nothing", {})), LIMITED, "never"], name="a")
    async with fairlead.open(providers=[provider], clock=WallClock()) as app:
        with pytest.raises(errors.TurnFailed):
            await app.ask("hi", session="s")
        with pytest.raises(errors.TurnFailed, match="slow down"):
            await app.ask("hi", session="s")
    assert 3 == provider.answered


async def test_wrong_key_says_what_to_do(autojump_clock: object) -> None:
    """There is no moment to wait for; a probe shows whether the vendor has changed its mind."""
    wrong = errors.AuthenticationFailed("wrong key", provider="a")
    provider = ScriptedProvider([wrong, wrong, "mended"], name="a")
    async with fairlead.open(providers=[provider], clock=WallClock()) as app:
        with pytest.raises(errors.TurnFailed, match=r"wrong key\. The next try makes sense once its key is changed"):
            await app.ask("hi")
        await trio.sleep(80_000)
        with pytest.raises(errors.TurnFailed, match="wrong key"):
            await app.ask("hi")
        assert "mended" == (await app.ask("hi")).text
        assert [] == list(app.health)


async def test_success_resets_the_count(autojump_clock: object) -> None:
    """The next failure is the first again."""
    provider = ScriptedProvider([LIMITED, "ok", LIMITED], name="a")
    async with fairlead.open(providers=[provider], clock=WallClock()) as app:
        for expected in (1, 0, 1):
            if expected:
                with pytest.raises(errors.TurnFailed):
                    await app.ask("hi")
            else:
                await app.ask("hi")
            assert [1] * expected == [event.failures for event in app.health]


# -- the breaker


async def test_provider_that_is_down_is_asked_by_one_at_a_time(autojump_clock: object) -> None:
    """Half-open: while one finds out how it is, the others go to the next link; when it answers, all come back."""
    gate = trio.Event()

    async def slow(_: fairlead.ModelRequest) -> str:
        await gate.wait()
        return "from a"

    late = errors.ProviderTimeout("late", provider="a")
    first = keyed(late, late, late, slow, "from a", keys=("k1", "k2", "k3"))
    second = ScriptedProvider(["b"], name="b", repeat=True)
    async with fairlead.open(chain("a", "b"), providers=[first, second], clock=WallClock()) as app:
        assert "b" == (await app.ask("hi")).text
        assert {"general", "outage"} == {event.cause for event in app.health}
        await trio.sleep(31)
        texts: list[str] = []

        async def ask() -> None:
            texts.append((await app.ask("hi")).text)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
            await trio.sleep(1)
            assert (["b"] * 9, 4) == (texts, first.answered)
            gate.set()
        assert "from a" == (await app.ask("hi")).text
        assert "outage" not in {event.cause for event in app.health}


async def test_provider_that_somebody_else_probes_is_said_to_be_so(autojump_clock: object) -> None:
    """Where there is no other link."""
    late = errors.ProviderTimeout("late", provider="a")

    async def slow(_: fairlead.ModelRequest) -> str:
        await trio.sleep(60)
        return "back"

    provider = keyed(late, late, late, slow, keys=("k1", "k2", "k3"))
    async with fairlead.open(providers=[provider], clock=WallClock()) as app:
        with pytest.raises(errors.TurnFailed):
            await app.ask("hi")
        await trio.sleep(400)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.ask, "hi")
            await trio.sleep(1)
            with pytest.raises(errors.TurnFailed, match="somebody else asks just now whether it still is"):
                await app.ask("hi")


# -- after the first token


async def test_stream_that_breaks_is_asked_again_though_it_cools_down(autojump_clock: object) -> None:
    """The same link, at once, shown once; its success ends the cooldown, and no other is asked."""
    broken = Interrupted("The answer ", errors.BrokenStream("cut", provider="a"))
    first, second = ScriptedProvider([broken, "The answer is 4."], name="a"), ScriptedProvider(["b"], name="b")
    shown: list[str] = []

    async def emit(delta: fairlead.Delta) -> None:
        shown.append(delta.text)

    async with fairlead.open(chain("a", "b"), providers=[first, second], clock=WallClock()) as app:
        reply = await app.ask("2 + 2?", session="s", emit=emit)
        partial = [r.event.partial for r in await app.sessions.records("s") if isinstance(r.event, events.ModelFailed)]
        assert [] == list(app.health)
    assert ("The answer is 4.", "The answer is 4.", ["The answer "]) == (reply.text, "".join(shown), partial)
    assert 0 == second.answered


async def test_stream_that_breaks_twice_fails_and_cools_down(autojump_clock: object) -> None:
    """No other model may go on with words that somebody has read."""
    broken = Interrupted("The answer ", errors.BrokenStream("cut", provider="a"))
    first, second = ScriptedProvider([broken, broken], name="a"), ScriptedProvider(["b"], name="b")
    async with fairlead.open(chain("a", "b"), providers=[first, second], clock=WallClock()) as app:
        with pytest.raises(errors.TurnFailed, match="cut"):
            await app.ask("hi")
        assert [("general", 1)] == [(event.cause, event.failures) for event in app.health]
        assert "b" == (await app.ask("hi")).text


# -- larger windows

TOO_LARGE = errors.ContextOverflow("too large", provider="a")


def sized(name: str, window: int | None, *script: Any) -> ScriptedProvider:
    return ScriptedProvider(script, name=name, models=[ModelInfo("script", window=window)])


async def test_only_a_larger_window_is_asked_after_an_overflow(autojump_clock: object) -> None:
    """Smaller ones, equal ones and those of unknown size would refuse as well."""
    providers = [
        sized("a", 1000, TOO_LARGE),
        sized("small", 1000, "small"),
        sized("unknown", None, "unknown"),
        sized("large", 2000, "from large"),
    ]
    async with fairlead.open(chain("a", "small", "unknown", "large"), providers=providers) as app:
        assert "from large" == (await app.ask("hi", session="s")).text
        assert [] == list(app.health)
        assert [("a", "", "ContextOverflow")] == await failures(app)
    assert [1, 0, 0, 1] == [provider.answered for provider in providers]


async def test_overflow_without_a_larger_window_is_refused_clearly(autojump_clock: object) -> None:
    """Not with another key, not again; the words say what can be done."""
    provider = keyed(errors.ContextOverflow("too large", provider="a", limit=1000))
    async with fairlead.open(providers=[provider]) as app:
        with pytest.raises(errors.TurnFailed) as caught:
            await app.ask("hi")
    assert 1 == provider.answered
    for words in ("window of 1000 tokens", "begin a new session", "a model with a larger window"):
        assert words in caught.value.problem


async def test_larger_window_is_not_looked_for_before_the_history_was_compacted(autojump_clock: object) -> None:
    """`widen` is what the turn sets after it: the first overflow comes out at once."""
    first, second = sized("a", 1000, TOO_LARGE), sized("large", 2000, "from large")
    async with fairlead.open(chain("a", "large"), providers=[first, second]) as app:
        models = app._desk.engine.models  # noqa: SLF001  # the resolver has no public face
        request = fairlead.ModelRequest("script", ())
        with pytest.raises(errors.ContextOverflow):
            await models.generate(models.resolve("default"), request, None, lambda *_: None, widen=False)
        answered = await models.generate(models.resolve("default"), request, None, lambda *_: None)
    assert "large" == answered.provider


# -- seen from outside


async def test_observers_see_health_change(autojump_clock: object) -> None:
    """One event where it begins and one where it ends, and none for what is skipped."""
    observer = RecordingObserver()
    provider = ScriptedProvider([LIMITED, "ok", "ok"], name="a")
    async with fairlead.open(providers=[provider], observers=[observer], clock=WallClock()) as app:
        with pytest.raises(errors.TurnFailed):
            await app.ask("hi")
        await app.ask("hi")
        await app.ask("hi")
        await trio.testing.wait_all_tasks_blocked()
    seen = [r.event for r in observer.records if isinstance(r.event, events.ProviderHealth)]
    assert [("a", "script", 1), ("a", "script", 0)] == [(e.provider, e.model, e.failures) for e in seen]


async def test_doctor_says_what_cools_down(autojump_clock: object) -> None:
    """Who, until when, why, and what to type; nothing more once it is over."""
    provider = keyed(LIMITED, errors.AuthenticationFailed("wrong"), keys=("work", "home"))
    async with fairlead.open(providers=[provider], clock=WallClock()) as app:
        with pytest.raises(errors.TurnFailed):
            await app.ask("hi")
        told = [finding for finding in await app.check() if not finding.ok]
        await app.reset_health("a")
        assert [] == [finding for finding in await app.check() if not finding.ok]
    assert ["providers/a"] * 2 == [finding.subject for finding in told]
    assert "'script' with the credential 'work'" in told[0].detail
    assert "rests after 1 x RateLimited; it is asked again in 100 seconds (08:01:40 UTC)" in told[0].detail
    assert told[1].detail.startswith("the credential 'home' rests")
    assert told[1].detail.endswith("it is asked again once its key is changed")
    assert all("fairlead models reset a" in finding.next_step for finding in told)
