"""`fairlead budgets`: what was spent, and by whom. The plugin `budgets` keeps the ledger; here a person reads it."""

from __future__ import annotations

import importlib
import re
import time
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import attrs
import click

from fairlead.errors import FairleadError
from fairlead_cli._failures import Refused
from fairlead_cli._options import config_options, example, json_option, load
from fairlead_cli._screen import Screen
from fairlead_cli._tables import moment, table
from fairlead_cli._text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["command"]

PACKAGE = "fairlead-budgets"
_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_FULL = 1.0
_CENT = 0.01
_SHOWN = 20


@click.group(
    "budgets", epilog=example("fairlead budgets list\nfairlead budgets report --by principal"), no_args_is_help=True
)
def command() -> None:
    """What was spent on models, and by whom.

    Budgets stand in the table [policies.budgets] of the configuration.
    """


def _who_option(function: Any) -> Any:
    return click.option("--who", default="", help="Whose, where each person, session and so on has one.")(function)


def _reason_option(function: Any) -> Any:
    return click.option("--reason", required=True, help="Why; it is kept in the ledger.")(function)


@command.command("list", epilog=example("fairlead budgets list --json"))
@config_options
@json_option
def list_(config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Every budget, how much of it is used, and when it renews."""
    _show_accounts(_call("accounts", config_file, profile), as_json=as_json)


@command.command("show", epilog=example("fairlead budgets show team-daily"))
@click.argument("name")
@config_options
@json_option
def show(name: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """One budget, and the last entries of the ledger that are about it, newest first."""
    entries = _call("entries", config_file, profile, name, _SHOWN)
    accounts = [each for each in _call("accounts", config_file, profile) if each.budget == name]
    screen = Screen()
    if as_json:
        screen.json({"accounts": _plain(accounts), "entries": _plain(entries)})
        return
    _show_accounts(accounts, as_json=False)
    screen.line()
    rows = [
        (
            moment(each.at),
            each.kind,
            each.principal,
            each.session,
            each.model,
            _money(each.dollars),
            f"{each.tokens:,}",
            each.reason,
        )
        for each in entries
    ]
    table(screen, ("AT (UTC)", "WHAT", "PERSON", "SESSION", "MODEL", "DOLLARS", "TOKENS", "REASON"), rows)


@command.command("credit", epilog=example('fairlead budgets credit team-daily 2.50 --reason "demo today"'))
@click.argument("name")
@click.argument("amount", type=float)
@click.option("--unit", type=click.Choice(["dollars", "tokens", "requests"]), help="By default what it limits.")
@_who_option
@_reason_option
@config_options
@json_option
def credit(
    name: str,
    amount: float,
    unit: str | None,
    who: str,
    reason: str,
    config_file: str | None,
    profile: str | None,
    *,
    as_json: bool,
) -> None:
    """Give a budget AMOUNT more room, until it renews; a negative one takes some away."""
    _show_accounts([_call("credit", config_file, profile, name, amount, unit, who, reason)], as_json=as_json)


@command.command("reset", epilog=example('fairlead budgets reset team-daily --reason "a test ran wild"'))
@click.argument("name")
@_who_option
@_reason_option
@config_options
@json_option
def reset(name: str, who: str, reason: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Let a budget begin anew. What requests under way have reserved stays."""
    _show_accounts([_call("reset", config_file, profile, name, who, reason)], as_json=as_json)


@command.command("time", epilog=example('fairlead budgets time --reason "the clock was a year ahead"'))
@_reason_option
@config_options
@json_option
def time_(reason: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Say that the clock is right now, after one that was ahead: budgets renew by it again."""
    _call("set_time", config_file, profile, reason)
    if as_json:
        Screen().json({"reason": reason})
    else:
        Screen().line("The ledger goes by the clock again.", "green")


@command.command("report", epilog=example("fairlead budgets report --by session --since 7d"))
@click.option(
    "--by",
    type=click.Choice(["principal", "agent", "session", "channel", "conversation", "provider", "model"]),
    default="principal",
    show_default=True,
    help="Added up for each of them.",
)
@click.option("--since", default="30d", show_default=True, help="90m, 24h, 7d.")
@config_options
@json_option
def report(by: str, since: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """What was spent, by whom, the most first. Requests under way are not in it."""
    found = _call("report", config_file, profile, by, time.time() - _seconds(since))
    screen = Screen()
    if as_json:
        screen.json(_plain(found))
        return
    rows = [
        (
            each.who or "(nobody)",
            _money(each.dollars),
            f"{each.requests:,}",
            f"{each.input_tokens:,}",
            f"{each.output_tokens:,}",
            str(each.unknown or ""),
        )
        for each in found
    ]
    table(screen, (by.upper(), "DOLLARS", "REQUESTS", "TOKENS IN", "TOKENS OUT", "UNKNOWN"), rows)
    if any(each.unknown for each in found):
        screen.note("UNKNOWN: nobody knows what these requests used; they count with the most they could be.")
    if not found:
        screen.note("Nothing was spent.")


@command.command("audit", epilog=example("fairlead budgets audit"))
@config_options
@json_option
def audit(config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Count everything again, from the entries of the ledger alone."""
    found = _call("audit", config_file, profile)
    screen = Screen()
    if as_json:
        screen.json(attrs.asdict(found))
    else:
        told = f"{found.entries} entries of {found.requests} requests, {found.held} under way"
        screen.line(f"{told}: {'every figure is theirs' if not found.faults else 'they do not amount to the figures'}.")
        for fault in found.faults:
            screen.line(one_line(fault, 400), "red")
    if found.faults:
        raise SystemExit(1)


def _show_accounts(accounts: Sequence[Any], *, as_json: bool) -> None:
    screen = Screen()
    if as_json:
        screen.json(_plain(accounts))
        return
    rows = [
        (each.budget, each.who or each.scope, _used(each), f"{max(each.share, 0):.0%}", each.window, _renews(each))
        for each in accounts
    ]
    table(screen, ("BUDGET", "WHOSE", "USED", "SHARE", "WINDOW", "RENEWS (UTC)"), rows)
    full = [each.budget for each in accounts if each.share >= _FULL]
    if full:
        screen.note(f"Used up: {', '.join(sorted(set(full)))}.")


def _used(account: Any) -> str:
    units: list[tuple[str, Callable[[Any], str], str]] = [
        ("dollars", _money, ""),
        ("tokens", lambda count: f"{count:,}", " tokens"),
        ("requests", lambda count: f"{count:,}", " requests"),
    ]
    words = []
    for name, shown, unit in units:
        limit = getattr(account, name)
        if limit is not None:
            held = getattr(account, f"held_{name}")
            under_way = f" (+{shown(held)} under way)" if held else ""
            words.append(f"{shown(getattr(account, f'used_{name}'))} of {shown(limit)}{unit}{under_way}")
    return ", ".join(words)


def _money(amount: float) -> str:
    sign = "-" if amount < 0 else ""
    return f"{sign}${abs(amount):,.2f}" if abs(amount) >= _CENT or not amount else f"{sign}${abs(amount):.2g}"


def _renews(account: Any) -> str:
    if account.renews is None:
        return "never" if account.window == "total" else ""
    return moment(account.renews)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if found is None:
        raise Refused(f"expected a time such as 90m, 24h or 7d, found {text!r}", next_step="--since 7d")
    return int(found[1]) * _UNITS[found[2]]


def _call(act: str, config_file: str | None, profile: str | None, *arguments: Any) -> Any:
    """One of the operations, on the table of the configuration; what it refuses is a fault of who typed."""
    operations, config = _operations(), load(config_file, profile)
    tables = [each for each in config.plugins if (each.kind, each.entry_point) == ("policies", "budgets")]
    if not tables:
        mend = "write into fairlead.toml: [policies.budgets.limits.monthly] dollars = 20"
        raise Refused("the configuration has no table [policies.budgets]", next_step=mend)
    found = operations.Table(config.data_dir, tables[0].options, tables[0].name)
    try:
        return getattr(operations, act)(found, *arguments)
    except FairleadError as error:
        raise Refused(error.problem, next_step=error.next_step) from error


def _plain(found: Sequence[Any]) -> list[dict[str, Any]]:
    return [attrs.asdict(each) for each in found]


def _operations() -> Any:
    """What `fairlead-budgets` offers to be typed. `Refused` where it is not installed.

    No other distribution is asked: to be installed must not be enough to run in this process.
    """
    for entry_point in entry_points(group="fairlead.policies", name="budgets"):
        if entry_point.dist is not None and entry_point.dist.name == PACKAGE:
            return importlib.import_module(f"{entry_point.value.partition('.')[0]}.operations")
    raise Refused(f"this needs the package {PACKAGE}, which is not installed", next_step=f"pip install {PACKAGE}")
