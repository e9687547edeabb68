"""`fairlead check`: what is a plugin worth? By published rules, and with what is missing for the next tier."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from fairlead_cli._check_rules import RULES, TIERS, Outcome, missing, tier_of
from fairlead_cli._check_runs import fresh_place, look_at_runs, nothing_ran, this_place
from fairlead_cli._check_static import look_at_code, look_at_metadata
from fairlead_cli._check_subject import build, open_subject
from fairlead_cli._failures import Refused
from fairlead_cli._options import example, json_option
from fairlead_cli._screen import Screen
from fairlead_cli._text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead_cli._check_subject import Subject

__all__ = ["command"]


@click.command(
    "check",
    epilog=example(
        "fairlead check .\nfairlead check . --tier silver --yes --json\n"
        "fairlead check acme_dice-1.0-py3-none-any.whl --tests tests"
    ),
)
@click.argument("target", metavar="PATH|WHEEL", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--tier", type=click.Choice(TIERS), default="bronze", show_default=True, help="Exit with 1 below this one."
)
@click.option(
    "--tests", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Its tests; by default PATH/tests."
)
@click.option("--static", is_flag=True, help="Run nothing of it: look at the metadata and form of a wheel.")
@click.option("--fresh", is_flag=True, help="In a new environment with all that it needs, and not with what is here.")
@click.option(
    "--find-links", metavar="DIR", multiple=True, help="A directory of wheels for --fresh; may be given again."
)
@click.option("--no-index", is_flag=True, help="For --fresh: fetch nothing.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    target: Path,
    tier: str,
    tests: Path | None,
    find_links: tuple[str, ...],
    *,
    static: bool,
    fresh: bool,
    no_index: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Find the quality tier of a plugin: bronze, silver, gold or platinum, and what is missing for the next.

    PATH is a project, which is built; WHEEL a file. Its metadata and code are read. Then its code and its tests with
    the conformance kit are run, in processes of their own with your rights, and never in this one.
    """
    screen = Screen()
    _allow(target, screen, ask=not (yes or static))
    if static and target.is_dir():
        raise Refused("to build a project runs its code", next_step="give --static a wheel: uv build --wheel")
    options = [*(f"--find-links={Path(each).resolve()}" for each in find_links), *(["--no-index"] if no_index else [])]
    with tempfile.TemporaryDirectory(prefix="fairlead-check-") as directory:
        work = Path(directory).resolve()
        work.chmod(0o711)  # servers that its tests start may be other users: they must get to their files
        wheel = build(target.resolve(), _made(work / "wheel")) if target.is_dir() else target.resolve()
        subject = open_subject(wheel, work / "site", _tests_of(target, tests))
        outcomes = [*look_at_metadata(subject), *look_at_code(subject)]
        if static:
            outcomes += nothing_ran("--static")
        else:
            screen.note("Running it, and its tests...")
            place = fresh_place(wheel, work, options) if fresh else this_place(_made(work / "run"))
            outcomes += look_at_runs(subject, place)
        found = _in_order(outcomes)
    reached = tier_of(found)
    claimed = _claimed(subject)
    if as_json:
        screen.json(_plain(subject, found, reached, claimed))
    else:
        _print(screen, subject, found, reached, claimed)
    wanted = max(tier, claimed or tier, key=TIERS.index)
    ctx.exit(0 if reached and TIERS.index(reached) >= TIERS.index(wanted) else 1)


def _allow(target: Path, screen: Screen, *, ask: bool) -> None:
    """Whether its code may run here."""
    if not ask:
        return
    screen.note(f"To check {escape(str(target))} runs its code and its tests on this machine, as you.", "yellow")
    again = f"fairlead check {target} --yes"
    if not sys.stdin.isatty():
        raise Refused("nobody is here to answer: Run them?", next_step=again)
    if not click.confirm("Run them?", err=True):
        raise Refused("nothing was run", next_step=f"{again}, where it may run")


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _tests_of(target: Path, tests: Path | None) -> Path | None:
    """Where its tests are: what was said, or the place where every project has them."""
    found = tests or (target / "tests" if target.is_dir() else None)
    return found.resolve() if found is not None and found.is_dir() else None


def _in_order(outcomes: Sequence[Outcome]) -> list[Outcome]:
    by_rule = {outcome.rule: outcome for outcome in outcomes}
    return [by_rule[rule.name] for rule in RULES]


def _claimed(subject: Subject) -> str:
    """The highest tier that its manifests claim; empty for none."""
    said = [point.manifest.get("tier") for point in subject.points if isinstance(point.manifest, dict)]
    return max((each for each in said if each in TIERS), key=TIERS.index, default="")


def _plain(subject: Subject, found: Sequence[Outcome], reached: str, claimed: str) -> dict[str, object]:
    rules = {rule.name: rule for rule in RULES}
    return {
        "plugin": subject.label,
        "plugins": [point.label for point in subject.points],
        "tier": reached,
        "claimed": claimed,
        "missing": [outcome.rule for outcome in missing(found, reached)],
        "rules": [
            {**attrs.asdict(one), **attrs.asdict(rules[one.rule], filter=attrs.filters.exclude("name"))}
            for one in found
        ],
    }


def _print(screen: Screen, subject: Subject, found: Sequence[Outcome], reached: str, claimed: str) -> None:
    names = ", ".join(point.label for point in subject.points) or "no plugin"
    screen.line(f"{escape(subject.label)} ({escape(names)})", "bold")
    for tier in TIERS:
        screen.line(tier)
        for rule in (rule for rule in RULES if rule.tier == tier):
            outcome = next(each for each in found if each.rule == rule.name)
            screen.line(f"  {'ok ' if outcome.ok else 'no '} {rule.name}: {rule.promise}", "" if outcome.ok else "dim")
            if outcome.seen and not outcome.ok:
                screen.line(f"      {escape(outcome.seen)}")
    screen.line(f"Quality tier: {reached or 'none'}", "green" if reached else "red")
    if claimed and (not reached or TIERS.index(claimed) > TIERS.index(reached)):
        screen.line(f"  its manifest claims {claimed}", "red")
    lacking = missing(found, reached)
    if lacking:
        following = TIERS[TIERS.index(reached) + 1 if reached else 0]
        screen.line(f"For {following} it lacks:")
    for outcome in lacking:
        screen.line(f"  {outcome.rule}: {escape(outcome.seen)}")
        screen.line(f"    next: {escape(outcome.next_step)}")
