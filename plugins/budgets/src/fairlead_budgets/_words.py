"""What people read of budgets."""

from __future__ import annotations

from fairlead_budgets._amounts import Amount, dollars, number
from fairlead_budgets._ledger import Ask, State
from fairlead_budgets._options import Limit, Party
from fairlead_budgets._windows import moment

__all__ = ["printable", "refusal", "rule", "unknown_price", "warning"]

_LONGEST = 100


def rule(limit: Limit) -> str:
    """The name under which decisions name a budget."""
    return f"budget {limit.name}"


def refusal(state: State, ask: Ask) -> str:
    """What is spent, what was asked, of which budget, and when it renews."""
    limit, taken = state.limit, state.used + state.held
    alone = not limit.holds(ask.amount)
    if alone:
        problem = f"This request is larger than the whole budget {named(state)}"
    elif limit.share(taken) >= 1:
        problem = f"Budget {named(state)} is used up"
    else:
        problem = f"Too little is left of budget {named(state)}"
    spent = "; ".join(_spent(state, ask))
    cure = "A smaller output_tokens in [policies.budgets] lets requests ask for less" if alone else renewal(state)
    return f"{problem}: {spent}. {cure}."


def warning(state: State) -> str:
    """How much of it is used; for the operator, and for the person below an answer."""
    share = min(state.limit.share(state.used), 9.99)
    return f"{share:.0%} of budget {named(state)} is used: {', '.join(_used(state, state.used))}. {renewal(state)}."


def unknown_price(limit: Limit, party: Party) -> str:
    """What to type where no price is known."""
    model = printable(party.model)
    return (
        f"Budget {limit.name!r} is in dollars, and nobody knows what {model!r} costs. Write its price into "
        f'fairlead.toml, in dollars for a million tokens: [policies.budgets.prices] "{model}" = {{ input = 2.5, '
        'output = 10 }; or let unpriced models pass: unknown_price = "tokens" in [policies.budgets].'
    )


def named(state: State) -> str:
    """``'daily'``, ``'each-person' of telegram:42``."""
    name = repr(state.limit.name)
    return name if state.limit.scope == "all" else f"{name} of {printable(state.key) or 'nobody in particular'}"


def renewal(state: State) -> str:
    """When there is room again, in the time of the budget and in UTC."""
    window = state.limit.window
    if window.rolling:
        return f"What was spent is free again after {window.words}, first at {_at(state, window.leaves(state.oldest))}"
    if state.span.renews is None:
        return "It does not renew by itself"
    return f"It renews at {_at(state, state.span.renews)}"


def _at(state: State, seconds: float) -> str:
    return moment(seconds, state.limit.window.zone)


def _spent(state: State, ask: Ask) -> list[str]:
    limit, asked, held = state.limit, ask.amount, state.held
    since = "" if limit.window.rolling or not state.span.first else f" since {_at(state, state.span.first)}"
    words = []
    if limit.nano is not None and not _fits(limit.nano, state.used.nano + held.nano, asked.nano):
        words.append(
            f"{dollars(state.used.nano)} of {dollars(limit.nano)} spent{since}"
            + (f" and {dollars(held.nano)} reserved by requests under way" if held.nano else "")
            + f", and this request may cost {dollars(asked.nano)}"
        )
    if limit.tokens is not None and not _fits(limit.tokens, state.used.tokens + held.tokens, asked.tokens):
        words.append(
            f"{number(state.used.tokens)} of {number(limit.tokens)} tokens spent{since}"
            + (f" and {number(held.tokens)} reserved by requests under way" if held.tokens else "")
            + f", and this request may take {number(asked.tokens)}"
        )
    if limit.requests is not None and not _fits(limit.requests, state.used.requests + held.requests, 1):
        words.append(
            f"{number(state.used.requests)} of {number(limit.requests)} requests made{since}"
            + (f" and {number(held.requests)} under way" if held.requests else "")
        )
    return words


def _fits(limit: int, taken: int, asked: int) -> bool:
    return taken + asked <= limit


def _used(state: State, used: Amount) -> list[str]:
    limit = state.limit
    words = []
    if limit.nano is not None:
        words.append(f"{dollars(used.nano)} of {dollars(limit.nano)}")
    if limit.tokens is not None:
        words.append(f"{number(used.tokens)} of {number(limit.tokens)} tokens")
    if limit.requests is not None:
        words.append(f"{number(used.requests)} of {number(limit.requests)} requests")
    return words


def printable(text: str) -> str:
    """Ids of strangers, safe to show: no control characters, not longer than anybody reads."""
    kept = "".join(char if char.isprintable() else "?" for char in text[: _LONGEST + 1])
    return kept if len(kept) <= _LONGEST else f"{kept[:_LONGEST]}…"
