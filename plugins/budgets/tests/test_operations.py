"""What the operator does: see, credit, reset, report, audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fairlead import Usage
from fairlead_budgets._audit import Audit
from fairlead_budgets._errors import LedgerUnavailable, UnknownBudget
from fairlead_budgets._file import connect
from fairlead_budgets.operations import accounts, audit, credit, entries, report, reset, set_time

from .spending import NOW, Clock, denial, one, opened, review, table

LIMITS: dict[str, Any] = {
    "daily": {"dollars": 1, "window": "day"},
    "person": {"scope": "principal", "requests": 5, "tokens": 1_000_000},
    "ann": {"scope": "principal", "who": "kit:ann", "tokens": 1000, "at_limit": "warn"},
    "rolling": {"requests": 100, "rolling": "24h"},
    "ever": {"dollars": 1000, "window": "total"},
}


async def spend(path: Path, *, clock: Clock | None = None, **more: float) -> None:
    """So many dollars of each person, in one request."""
    async with opened(path, clock, limits=LIMITS) as policy:
        for who, money in more.items():
            asked = review(f"{who}-{clock.now if clock else NOW}", who=f"kit:{who}", session=f"of {who}")
            assert None is await denial(policy, asked)
            await policy.settle(asked, Usage(100, 10, cost=money))


async def test_accounts_are_listed_with_whoever_has_used_them(tmp_path: Path) -> None:
    """In the order of the configuration; one that nobody has used is there too."""
    clock = Clock()
    before = accounts(table(tmp_path, clock, limits=LIMITS))
    assert [("daily", ""), ("person", "*"), ("ann", "kit:ann"), ("rolling", ""), ("ever", "")] == [
        (each.budget, each.who) for each in before
    ]
    assert not (tmp_path / "budgets").exists(), "looking makes no ledger"
    await spend(tmp_path, ann=0.5, bob=0.25)
    after = accounts(table(tmp_path, clock, limits=LIMITS))
    assert [
        ("daily", "", 0.75, 2, 0.75),
        ("person", "kit:ann", 0.5, 1, 0.2),
        ("person", "kit:bob", 0.25, 1, 0.2),
        ("ann", "kit:ann", 0.5, 1, 0.11),
        ("rolling", "", 0.75, 2, 0.02),
        ("ever", "", 0.75, 2, 0.00075),
    ] == [(each.budget, each.who, each.used_dollars, each.used_requests, each.share) for each in after]
    daily, *_, rolling, ever = after
    assert (1_799_971_200, 1_800_057_600) == (daily.since, daily.renews)
    assert (None, 1_800_087_840) == (rolling.since, rolling.renews)
    assert (None, None) == (ever.since, ever.renews)


async def test_credit_gives_room_until_the_budget_renews(tmp_path: Path) -> None:
    """In the unit that is limited, with the reason in the ledger; a running gateway takes it at once."""
    clock = Clock()
    options = table(tmp_path, clock, limits=LIMITS)
    async with opened(tmp_path, clock, limits=LIMITS) as policy:
        asked = review("r1")
        await denial(policy, asked)
        await policy.settle(asked, Usage(1, 1, cost=1.0))
        assert await denial(policy, review("r2"))
        assert 0.5 == credit(options, "daily", 0.5, None, "", "a demo").used_dollars
        assert None is await denial(policy, review("r3"))
        clock.now += 86_400
        assert 0 == accounts(options)[0].used_dollars
    first = entries(options, "daily")[1]
    assert ("credited", -0.5, "a demo") == (first.kind, first.dollars, first.reason)
    assert 2 - 2000 == credit(options, "person", 2000, "tokens", "kit:ann", "x").used_tokens
    assert () == audit(options).faults


async def test_reset_lets_a_budget_begin_anew(tmp_path: Path) -> None:
    """One that rolls as well, for good: what is given back does not come again when the old falls out of it."""
    clock = Clock()
    options = table(tmp_path, clock, limits=LIMITS)
    await spend(tmp_path, clock=clock, ann=0.5)
    clock.now += 7200
    await spend(tmp_path, clock=clock, ann=0.25)
    for budget, who in (("daily", ""), ("rolling", ""), ("person", "kit:ann")):
        state = reset(options, budget, who, "a test")
        assert (0, 0, 0) == (state.used_dollars, state.used_tokens, state.used_requests)
    clock.now += 86_400
    assert {0} == {each.used_requests for each in accounts(options) if each.budget == "rolling"}
    assert 0.75 == accounts(options)[-1].used_dollars
    assert () == audit(options).faults


async def test_time_is_the_clocks_again_when_an_operator_says_so(tmp_path: Path) -> None:
    """After a clock that was a year ahead budgets would renew in a year."""
    clock = Clock()
    options = table(tmp_path, clock, limits=LIMITS)
    clock.now += 365 * 86_400
    await spend(tmp_path, clock=clock, ann=0.9)
    clock.now = NOW
    async with opened(tmp_path, clock, limits=LIMITS) as policy:
        assert 2 == len(await policy.check())
        assert 0.9 == accounts(options)[0].used_dollars
        set_time(options, "the battery was empty")
        assert 1 == len(await policy.check())
        clock.now += 86_400
        assert None is await denial(policy, review("r1"))
    assert () == audit(options).faults


async def test_report_says_who_spent_what(tmp_path: Path) -> None:
    """The most first, since a moment; by whatever a request can be charged to."""
    clock = Clock()
    options = table(tmp_path, clock, limits=LIMITS)
    await spend(tmp_path, clock=clock, ann=0.5)
    clock.now += 100
    await spend(tmp_path, clock=clock, ann=0.1, bob=0.25)
    rows = [
        (row.who, row.requests, row.input_tokens, row.output_tokens, row.dollars)
        for row in report(options, "principal", 0)
    ]
    assert [("kit:ann", 2, 200, 20, 0.6), ("kit:bob", 1, 100, 10, 0.25)] == rows
    assert ["kit:bob", "kit:ann"] == [row.who for row in report(options, "principal", NOW + 50)]
    assert [("p/m", 3)] == [(row.who, row.requests) for row in report(options, "model", 0)]
    assert ["kit/room"] == [row.who for row in report(options, "conversation", 0)]
    assert {"of ann", "of bob"} == {row.who for row in report(options, "session", 0)}
    with pytest.raises(UnknownBudget, match="expected one of principal"):
        report(options, "nano; DROP TABLE entries", 0)  # type: ignore[arg-type]  # what nobody may type


async def test_audit_finds_figures_that_are_not_those_of_the_entries(tmp_path: Path) -> None:
    """Whoever changes the accounts by hand is seen."""
    options = table(tmp_path, Clock(), limits=LIMITS)
    assert Audit(0, 0, 0, ()) == audit(options)
    await spend(tmp_path, ann=0.5)
    connection = connect(options.file)
    connection.execute("UPDATE accounts SET nano = nano - 1 WHERE budget = 'daily'")
    connection.execute("INSERT INTO holds VALUES ('forged', 1, 1)")
    connection.close()
    found = audit(options)
    assert 2 == len(found.faults)
    assert "('daily', '', 1799971200) says [499999999, " in found.faults[0]
    assert "'forged'" in found.faults[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nope", 1, None, ""), "there is no budget 'nope'; there are: daily, person, ann, rolling, ever"),
        (("daily", 1, "tokens", ""), "does not limit tokens"),
        (("daily", 1, None, "kit:ann"), "is about everything together"),
        (("person", 1, None, ""), "each principal has an account"),
    ],
)
def test_what_is_not_there_is_refused(arguments: tuple[Any, Any, Any, Any], words: str, tmp_path: Path) -> None:
    """With the next step, and without a ledger being made."""
    with pytest.raises(UnknownBudget, match=words) as caught:
        credit(table(tmp_path, limits=LIMITS), *arguments, "a reason")
    assert caught.value.next_step
    assert not (tmp_path / "budgets").exists()


def test_damaged_ledger_is_told(tmp_path: Path) -> None:
    """As what it is, with what to do."""
    file = table(tmp_path).file
    file.parent.mkdir()
    file.write_bytes(b"no database " * 1000)
    with pytest.raises(LedgerUnavailable, match="is damaged") as caught:
        accounts(table(tmp_path, limits=LIMITS))
    assert caught.value.next_step.startswith("mv ")


async def test_only_account_of_a_budget_need_not_be_named(tmp_path: Path) -> None:
    """Where the configuration says whose it is."""
    await spend(tmp_path, ann=0.5)
    options = table(tmp_path, Clock(), limits=LIMITS)
    assert ("kit:ann", 60) == (credit(options, "ann", 50, None, "", "x").who, accounts(options)[2].used_tokens)
    assert 0.5 == one(tmp_path, Clock(), limits={"ever": LIMITS["ever"]}).used_dollars
