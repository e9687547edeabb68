"""Each request to a model is a crossing of its own, and the policy that let it pass learns what it used."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import trio
import trio.testing

import fairlead
from fairlead import ModelAnswer, ModelInfo, ModelRequest, Review, Text, Usage, Verdict, errors
from fairlead.config import Config, ModelRef
from fairlead.events import Decided
from fairlead.testing import FakePolicy, RecordingObserver, ScriptedProvider, calls
from fairlead.types import Emit


class Account(FakePolicy):
    """Lets everything pass, or what it is told to, and writes down what it hears."""

    def __init__(self, *, deny: str = "") -> None:
        super().__init__(self._decide, boundaries=["model_request"])
        self.deny = deny
        self.heard: list[tuple[str, str, Usage | None]] = []
        self.asked: list[Review] = []

    def _decide(self, review: Review) -> list[Verdict]:
        self.asked.append(review)
        return [Verdict("deny", "too dear")] if review.provider == self.deny else []

    async def settle(self, review: Review, usage: Usage | None) -> None:
        assert isinstance(review.subject, ModelRequest)
        self.heard.append((review.subject.id, review.provider, usage))


def one(name: str, *script: object) -> ScriptedProvider:
    provider = ScriptedProvider(script)  # type: ignore[arg-type]  # each test's own script
    provider.name = name
    return provider


CHAIN = Config(models={"default": (ModelRef("first", "m"), ModelRef("second", "m"))})


async def test_each_model_call_of_a_turn_is_settled_once() -> None:
    """Two calls, two reviews, two accounts with the ids of the reviews, and the figures of the model."""
    account = Account()
    provider = ScriptedProvider([calls(("nothing", {})), "done"])
    async with fairlead.open(providers=[provider], policies=[account]) as app:
        await app.ask("hi")
    assert [review.subject.id for review in account.asked] == [ident for ident, _, _ in account.heard]  # type: ignore[union-attr]  # model requests
    assert 2 == len({ident for ident, _, _ in account.heard})
    assert all(isinstance(review.model, ModelInfo) for review in account.asked)


async def test_fallback_is_a_crossing_of_its_own() -> None:
    """The first provider did nothing and used nothing; the second is reviewed under another id."""
    account = Account()
    providers = [one("first", errors.RateLimited("busy", provider="first")), one("second", "hello")]
    async with fairlead.open(CHAIN, providers=providers, policies=[account]) as app:
        assert "hello" == (await app.ask("hi")).text
    (first, *nothing), (second, *something) = account.heard
    assert first != second
    assert ["first", Usage()] == nothing
    assert "second" == something[0]
    assert something[1] is not None


@pytest.mark.parametrize("kind", [errors.ProviderTimeout, errors.ProviderError])
async def test_what_nobody_can_know_is_said_to_be_unknown(kind: type[errors.ProviderError]) -> None:
    """A stream that broke may be paid for, and so may a question to a process that died."""
    account = Account()
    providers = [one("first", kind("late", provider="first")), one("second", "hello")]
    async with fairlead.open(CHAIN, providers=providers, policies=[account]) as app:
        await app.ask("hi")
    assert ("first", None) == account.heard[0][1:]


async def test_cancelled_request_is_settled_as_unknown() -> None:
    """The account hears of it although the turn is cancelled."""
    account = Account()

    class Slow(ScriptedProvider):
        async def generate(self, request: ModelRequest, emit: Emit) -> fairlead.ModelAnswer:
            scope.cancel()
            return await super().generate(request, emit)

    async with fairlead.open(providers=[Slow(["never"])], policies=[account]) as app:
        with trio.CancelScope() as scope:
            await app.ask("hi")
    assert [None] == [usage for _, _, usage in account.heard]


async def test_denied_request_is_not_sent_to_the_next_model() -> None:
    """The turn fails with the rule's words; nothing is settled."""
    account = Account(deny="first")
    second = one("second", "hello")
    async with fairlead.open(CHAIN, providers=[one("first", "no"), second], policies=[account]) as app:
        with pytest.raises(errors.TurnFailed, match="too dear") as caught:
            await app.ask("hi")
    assert ("policy", "app:too dear") == (caught.value.reason, caught.value.rule)
    assert [] == account.heard
    assert 0 == second.answered


async def test_account_hears_that_another_policy_denied_the_request() -> None:
    """It let the request pass, which then was not sent and used nothing; the one that denied it hears nothing."""
    account, strict = Account(), Account(deny="first")
    account.name, strict.name = "account", "strict"
    async with fairlead.open(CHAIN, providers=[one("first", "no")], policies=[account, strict]) as app:
        with pytest.raises(errors.TurnFailed, match="too dear"):
            await app.ask("hi")
    assert [("first", Usage())] == [told[1:] for told in account.heard]
    assert [] == strict.heard


async def test_account_hears_of_a_review_that_was_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """Another policy was still at it, so nothing was sent."""
    account = Account()

    class Slow(FakePolicy):
        async def review(self, review: Review) -> Sequence[Verdict]:
            await trio.sleep(3600)
            return ()

    policies = [account, Slow(lambda _: [], boundaries=["model_request"])]
    async with fairlead.open(providers=[ScriptedProvider(["never"])], policies=policies) as app:
        with trio.move_on_after(1):
            await app.ask("hi")
    assert [Usage()] == [usage for _, _, usage in account.heard]


async def test_answer_without_figures_is_settled_as_unknown() -> None:
    """Where an adapter does not say what was used, it was not nothing."""
    account = Account()
    async with fairlead.open(providers=[ScriptedProvider([ModelAnswer((Text("fine"),))])], policies=[account]) as app:
        await app.ask("hi")
    assert [None] == [usage for _, _, usage in account.heard]


async def test_many_first_requests_wait_for_the_list_of_models() -> None:
    """All reviews have the figures of the model; the provider is asked once."""
    account = Account()

    class Lister(ScriptedProvider):
        asked = 0

        async def models(self) -> Sequence[ModelInfo]:
            self.asked += 1
            return await super().models()

    provider = Lister(["fine"], repeat=True)
    config = Config(models={"default": (ModelRef("scripted", "script"),)})
    async with fairlead.open(config, providers=[provider], policies=[account]) as app, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(partial(app.ask, "hi", session=f"s{number}"))
    assert [True] * 5 == [review.model is not None for review in account.asked]
    assert 1 == provider.asked


async def test_provider_that_could_not_list_its_models_is_asked_again(autojump_clock: trio.testing.MockClock) -> None:
    """Not with each request: a minute later."""
    account = Account()

    class Lister(ScriptedProvider):
        asked = 0

        async def models(self) -> Sequence[ModelInfo]:
            self.asked += 1
            if self.asked == 1:
                raise errors.ConnectionFailed("not yet", provider=self.name)
            return await super().models()

    config = Config(models={"default": (ModelRef("scripted", "script"),)})
    async with fairlead.open(config, providers=[Lister(["fine"], repeat=True)], policies=[account]) as app:
        await app.ask("hi")
        await app.ask("hi")
        await trio.sleep(61)
        await app.ask("hi")
    assert [False, False, True] == [review.model is not None for review in account.asked]


async def test_allowance_that_says_why_is_journalled() -> None:
    """So that observers see what a policy warns of; a plain one is not worth a line."""
    seen = RecordingObserver()
    verdicts = [[Verdict("allow", "half", reason="half of it is used")], [Verdict("allow", "plain")]]
    policy = FakePolicy(lambda _: verdicts.pop(0), boundaries=["model_request"])
    async with fairlead.open(
        providers=[ScriptedProvider(["fine"], repeat=True)], policies=[policy], observers=[seen]
    ) as app:
        await app.ask("hi", session="s")
        await app.ask("hi", session="s")
        await trio.testing.wait_all_tasks_blocked()  # observers are behind
    assert [("allow", "half")] == [(event.effect, event.rule) for event in seen.events(Decided)]


async def test_account_that_fails_disturbs_no_turn() -> None:
    """It is reported, and the answer comes."""

    class Broken(Account):
        async def settle(self, review: Review, usage: Usage | None) -> None:
            raise OSError("the ledger is gone")

    async with fairlead.open(providers=[ScriptedProvider(["fine"])], policies=[Broken()]) as app:
        assert "fine" == (await app.ask("hi")).text
