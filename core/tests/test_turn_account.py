"""Each request to a model is a crossing of its own, and the policy that let it pass learns what it used."""

from __future__ import annotations

import pytest
import trio

import fairlead
from fairlead import ModelInfo, ModelRequest, Review, Usage, Verdict, errors
from fairlead.config import Config, ModelRef
from fairlead.testing import FakePolicy, ScriptedProvider, calls


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
        async def generate(self, request: ModelRequest, emit: fairlead.types.Emit) -> fairlead.ModelAnswer:
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
    assert "policy" == caught.value.reason
    assert [] == account.heard
    assert 0 == second.answered


async def test_account_that_fails_disturbs_no_turn() -> None:
    """It is reported, and the answer comes."""

    class Broken(Account):
        async def settle(self, review: Review, usage: Usage | None) -> None:
            raise OSError("the ledger is gone")

    async with fairlead.open(providers=[ScriptedProvider(["fine"])], policies=[Broken()]) as app:
        assert "fine" == (await app.ask("hi")).text
