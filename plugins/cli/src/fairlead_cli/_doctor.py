"""`fairlead doctor`: is everything as it must be, and what mends it where not."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import attrs
import click
import trio

from fairlead import Finding
from fairlead.errors import FairleadError
from fairlead.plugins import installed
from fairlead_cli._options import config_options, example, json_option, load, with_app
from fairlead_cli._screen import Screen
from fairlead_cli._text import escape, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fairlead import App
    from fairlead.config import Config

__all__ = ["command"]

_OLDEST = (3, 11)


@click.command("doctor", epilog=example("fairlead doctor --config fairlead.toml"))
@config_options
@json_option
@click.pass_context
def command(ctx: click.Context, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Check Python, the configuration, every installed and every enabled plugin; say what mends each fault.

    Last comes what the machine offers for isolation; what is missing there is no fault. Exits with 1 where something is
    wrong.
    """
    findings, warnings = [_python(), *_installed()], list[Finding]()
    try:
        config = load(config_file, profile)
        findings.append(_file(config))
        warnings = list(_stages(config))
        findings += with_app(config, _ask_app)
    except FairleadError as error:
        findings.append(_fault(error))
    screen = Screen()
    wrong = [finding for finding in findings if not finding.ok]
    machine = _machine()
    if as_json:
        shown = {"findings": findings, "warnings": warnings, "machine": machine}
        screen.json(
            {"ok": not wrong, **{name: [attrs.asdict(each) for each in found] for name, found in shown.items()}}
        )
    else:
        _print(screen, findings, warnings, machine)
    ctx.exit(1 if wrong else 0)


def _python() -> Finding:
    return Finding(
        "python",
        ok=sys.version_info >= _OLDEST,
        detail=f"{platform.python_implementation()} {platform.python_version()}",
        next_step=f"install Python {'.'.join(map(str, _OLDEST))} or later",
    )


def _installed() -> Iterator[Finding]:
    """Installed plugins that cannot be enabled."""
    for plugin in installed():
        if plugin.problem:
            mend = f"fairlead plugins show {plugin.kind}/{plugin.name}"
            yield Finding(f"{plugin.kind}/{plugin.name}", ok=False, detail=plugin.problem, next_step=mend)


def _file(config: Config) -> Finding:
    detail = f"{config.file} is valid" if config.file else "no fairlead.toml here; the default configuration is used"
    return Finding("configuration", ok=True, detail=f"{detail} (profile {config.profile}, data in {config.data_dir})")


def _stages(config: Config) -> Iterator[Finding]:
    """Enabled plugins that may soon be gone, or, in production, change any day. They work: it is no fault."""
    stages = {
        (each.kind, each.name): (each.manifest.stage, f"{each.distribution} {each.version}")
        for each in installed(config.data_dir)
        if each.manifest is not None
    }
    for table in config.plugins:
        stage, label = stages.get((table.kind, table.entry_point), ("", ""))
        subject, mend = f"{table.kind}/{table.name}", f"fairlead plugins show {table.kind}/{table.entry_point}"
        if stage == "deprecated":
            detail = f"{label} is deprecated: its authors have given it up; look for what replaces it"
            yield Finding(subject, ok=True, detail=detail, next_step=mend)
        elif stage == "experimental" and config.profile == "production":
            detail = f"{label} is experimental and may change with each version: pin it"
            yield Finding(subject, ok=True, detail=detail, next_step=mend)


async def _ask_app(app: App) -> Sequence[Finding]:
    return [*await app.check(), await _journal(app)]


async def _journal(app: App) -> Finding:
    """Whether the journal answers. It is asked as any command asks it: with a small question."""
    try:
        await app.sessions.list(limit=1)
    except FairleadError as error:
        return Finding("journal", ok=False, detail=error.problem, next_step=error.next_step)
    lasting = any(plugin.kind == "memories" for plugin in app.config.plugins)
    return Finding("journal", ok=True, detail="answers" if lasting else "in memory only; it ends with the program")


def _fault(error: FairleadError) -> Finding:
    file, line = getattr(error, "file", ""), getattr(error, "line", None)
    place = ": ".join(part for part in (f"{file}:{line}" if line else file, getattr(error, "path", "")) if part)
    detail = f"{place}: {error.problem}" if place else error.problem
    # An error that sends people to the doctor must not do so here.
    mend = (
        error.next_step if error.next_step != "fairlead doctor" else "mend the file; its keys: fairlead schema config"
    )
    return Finding("configuration", ok=False, detail=detail, next_step=mend)


def _machine() -> Sequence[Finding]:
    """What `fairlead-sandbox` finds on this machine; nothing where it is not installed.

    No other distribution is asked: to be installed must not be enough to run in this process.
    """
    for entry_point in entry_points(group="fairlead.surveys"):
        if entry_point.dist is not None and entry_point.dist.name == "fairlead-sandbox":
            found: Sequence[Finding] = trio.run(entry_point.load())
            return found
    return ()


def _plain(findings: Sequence[Finding]) -> list[dict[str, object]]:
    return [attrs.asdict(finding) for finding in findings]


def _print(
    screen: Screen, findings: Sequence[Finding], warnings: Sequence[Finding], machine: Sequence[Finding]
) -> None:
    for finding in findings:
        _print_one(screen, finding, *(("ok ", "") if finding.ok else ("bad", "red")))
    for finding in warnings:
        _print_one(screen, finding, "see", "yellow")
    if machine:
        screen.line()
        screen.line("What this machine offers for isolation (fairlead sandbox doctor says more):", "bold")
    for finding in machine:
        _print_one(screen, finding, "ok " if finding.ok else "no ", "dim")
    if machine:
        screen.line()
    wrong = sum(not finding.ok for finding in findings)
    if wrong:
        screen.note(f"{wrong} of {len(findings)} checks found a fault.", "red")
    else:
        screen.note(f"All {len(findings)} checks are well.", "green")


def _print_one(screen: Screen, finding: Finding, mark: str, style: str) -> None:
    screen.line(f"{mark}  {one_line(finding.subject)}: {escape(finding.detail)}", style)
    if finding.next_step and (style == "yellow" or not finding.ok):
        screen.line(f"     next: {escape(finding.next_step)}", "dim" if style == "dim" else "")
