"""The policy: each request to a model is reserved before it is sent, and settled after it."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import trio
from attrs import evolve

from fairlead import Finding, Message, ModelRequest, Policy, Review, Settings, Text, Usage, Verdict
from fairlead_budgets._amounts import NANO, Price
from fairlead_budgets._errors import LedgerUnavailable
from fairlead_budgets._estimate import Estimates, output_bound
from fairlead_budgets._ledger import Ask, Outcome, Settlement, find_lost, reserve, settle
from fairlead_budgets._options import Party, read_options
from fairlead_budgets._presence import Presence
from fairlead_budgets._words import refusal, rule, unknown_price, warning

if TYPE_CHECKING:
    from fairlead_budgets._clerk import Clerk

__all__ = ["Budgets", "ledger_file"]

T = TypeVar("T")

RULE = "budgets"
UNDER_WAY = 10_000
"""Requests whose prices are remembered until they are settled."""
TOLD = 1000
"""Sessions that still have to be told."""
MOST_TOKENS, MOST_NANO = 10**12, 10**16
"""Of one request, whatever a provider says: figures that can be added up in 64 bits."""


def ledger_file(data_dir: Path, name: str) -> Path:
    """Where the ledger of a table ``[policies.NAME]`` is kept."""
    return data_dir / "budgets" / f"{name}.db"


class Budgets(Policy):
    """Denies a request to a model that does not fit into a budget, and keeps the ledger of all others."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self.options = read_options(settings)
        self.clock: Callable[[], float] = time.time
        """Unix seconds."""
        self.lost = 0
        """Requests of processes that died, as found when it was opened."""
        self.boundaries = frozenset({"model_request"})
        if any(limit.tell for limit in self.options.limits):
            self.boundaries |= {"message_out"}
        self._path = ledger_file(settings.data_dir, settings.name)
        self._presence = Presence(self._path.with_suffix(".processes"))
        self._clerk: Clerk | None = None
        self._estimates = Estimates()
        self._prices: OrderedDict[str, Price | None] = OrderedDict()
        self._untold: OrderedDict[str, str] = OrderedDict()

    async def open(self) -> None:
        """Open the ledger, or make it, and count what dead processes had reserved as spent. `LedgerUnavailable`."""
        from fairlead_budgets._clerk import Clerk  # noqa: PLC0415  # apsw is imported when a ledger is opened
        from fairlead_budgets._file import explained  # noqa: PLC0415  # the same

        self._clerk = Clerk(self._path)
        try:
            await self._clerk.open()
            with explained(self._path):
                self._presence.open()
            self.lost = await self._clerk.do(partial(find_lost, is_dead=self._presence.is_dead, clock=self.clock()))
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.close()
            raise

    async def close(self) -> None:
        """What is still reserved counts as spent from the next opening on."""
        if self._clerk is not None:
            await self._clerk.close()
        self._presence.close()

    async def review(self, review: Review) -> Sequence[Verdict]:
        """Nothing for a request that is now reserved; a denial for one that does not fit."""
        if isinstance(review.subject, Message):
            return self._tell(review, review.subject)
        if not isinstance(review.subject, ModelRequest):
            return ()
        request, options, party = review.subject, self.options, Party.of(review)
        limits = [limit for limit in options.limits if limit.key(party) is not None]
        price = options.price(party, review.model)
        money = next((limit for limit in limits if limit.nano is not None), None)
        if price is None and money is not None and options.deny_unknown:
            return (Verdict("deny", rule(money), reason=unknown_price(money, party)),)
        listed = review.model.max_output if review.model is not None else None
        output, must_say = output_bound(request, listed, options.output_tokens)
        if must_say and request.max_output_tokens != output:
            # What is reserved is then really the most; the core asks again about the request as it will be sent.
            return (Verdict("revise", RULE, revised=evolve(request, max_output_tokens=output)),)
        ask = self._ask(review, request, party, price, output)
        try:
            assert self._clerk is not None, "it is open"
            act = partial(reserve, limits=options.limits, process=self._presence.process, ask=ask, clock=self.clock())
            outcome = await self._clerk.do(act)
        except LedgerUnavailable as error:
            return (Verdict("deny", RULE, reason=f"what is spent cannot be written down: {error.problem}"),)
        return self._verdicts(outcome, ask, price, review.session)

    def _ask(self, review: Review, request: ModelRequest, party: Party, price: Price | None, output: int) -> Ask:
        tokens = self._estimates.input_tokens(request, party.model)
        window = review.model.window if review.model is not None else None
        if window:  # no provider takes more
            tokens, output = min(tokens, window), min(output, window)
        nano = price.most(tokens, output) if price is not None else 0
        return Ask(request.id, party, min(nano, MOST_NANO), min(tokens, MOST_TOKENS), min(output, MOST_TOKENS))

    def _verdicts(self, outcome: Outcome, ask: Ask, price: Price | None, session: str) -> Sequence[Verdict]:
        if outcome.over is not None:
            return (Verdict("deny", rule(outcome.over.limit), reason=refusal(outcome.over, ask)),)
        _remember(self._prices, ask.request, price if self.options.own_price(ask.party) else None, UNDER_WAY)
        if not outcome.warned:
            return ()
        if words := "\n".join(warning(state) for state in outcome.warned if state.limit.tell):
            _remember(self._untold, session, words, TOLD)
        # An allowance with a reason is journalled, so that observers see it.
        first = outcome.warned[0]
        return (Verdict("allow", rule(first.limit), reason=" ".join(map(warning, outcome.warned))),)

    def _tell(self, review: Review, answer: Message) -> Sequence[Verdict]:
        """Put the warning below the answer; once it is there, it was told."""
        words = self._untold.get(review.session)
        if words is None or review.boundary != "message_out":
            return ()
        if any(isinstance(part, Text) and part.text == words for part in answer.parts):
            del self._untold[review.session]
            return ()
        return (Verdict("revise", RULE, revised=evolve(answer, parts=(*answer.parts, Text(words)))),)

    async def settle(self, review: Review, usage: Usage | None) -> None:
        """Put the truth in the place of what was reserved. `LedgerUnavailable`: it then stays reserved."""
        request = review.subject
        assert isinstance(request, ModelRequest), "only requests to models are settled"
        own = self._prices.pop(request.id, None)
        actual = None
        if usage is not None:
            party = Party.of(review)
            self._estimates.learn(request, party.model, usage.input_tokens)
            actual = Settlement(
                min(_cost(usage, own), MOST_NANO),
                min(usage.input_tokens, MOST_TOKENS),
                min(usage.output_tokens, MOST_TOKENS),
            )
        assert self._clerk is not None, "it is open"
        # Where power loss takes this away, the whole reservation counts: nobody has more than there is.
        act = partial(settle, request=request.id, actual=actual, clock=self.clock())
        await self._clerk.do(act, durable=False)

    async def check(self) -> Sequence[Finding]:
        """How full the budgets are, and whether the clock went back."""
        from fairlead_budgets._check import findings  # noqa: PLC0415  # apsw comes with it

        return await trio.to_thread.run_sync(
            partial(findings, self.name, self._path, self.options.limits, self.clock(), self.lost),
            abandon_on_cancel=True,
        )


def _cost(usage: Usage, own: Price | None) -> int:
    """In nano-dollars: by our price, else by what the core or the provider says."""
    if own is not None:
        return own.of(usage)
    return math.ceil(min(usage.cost or 0.0, MOST_NANO / NANO) * NANO)


def _remember(known: OrderedDict[str, T], key: str, value: T, most: int) -> None:
    known[key] = value
    if len(known) > most:
        known.popitem(last=False)
