"""`fairlead sandbox`: the image of the sandboxes, what the engine has of ours, and where a tool would run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import click
import trio

from fairlead.errors import FairleadError
from fairlead_cli._failures import Refused
from fairlead_cli._operations import operations
from fairlead_cli._options import config_options, example, json_option, keep, load, with_app
from fairlead_cli._screen import Screen
from fairlead_cli._tables import table
from fairlead_cli._text import escape, one_line, show_evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fairlead import App
    from fairlead.config import Config

__all__ = ["command"]


@click.group("sandbox", epilog=example("fairlead sandbox build"), no_args_is_help=True)
def command() -> None:
    """Where code runs that the host must not run."""


@command.command("build", epilog=example("fairlead sandbox build\nfairlead sandbox build --from python:3.12-slim"))
@click.option("--from", "base", default="", help="An image of a registry instead of this machine's Debian packages.")
@click.option("--package", "packages", multiple=True, help="A Debian package that shall be in it too: git.")
@config_options
@json_option
def build(base: str, packages: tuple[str, ...], config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Make the image that all sandboxes are made from."""
    screen = Screen()

    def say(text: str) -> None:
        if not as_json:
            screen.note(one_line(text, 200))

    made = _run("build_sandbox_image", load(config_file, profile), base=base, packages=packages, say=say)
    if as_json:
        screen.json(made)
        return
    size = f"{made['size_bytes'] / 1e6:.0f} MB"
    screen.line(f"The image {made['id'][7:19]} is ready: {escape(made['source'])}, Python {made['python']}, {size}.")
    screen.note('  next: fairlead chat "use python to compute the 1000th prime"')


@command.command("ls", epilog=example("fairlead sandbox ls --json"))
@config_options
@json_option
def ls(config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """The containers of Fairlead on the engine, also those of other processes."""
    screen = Screen()
    found = _run("list_sandboxes", load(config_file, profile))
    if as_json:
        screen.json(list(found))
        return
    rows = [
        (each["id"][:12], each["plugins"], each["state"], f"{each['age']:.0f} s", str(each["pid"]), each["maker"])
        for each in found
    ]
    table(screen, ("CONTAINER", "PLUGINS", "STATE", "AGE", "PROCESS", "MADE BY ONE THAT IS"), rows)


@command.command("gc", epilog=example("fairlead sandbox gc"))
@config_options
@json_option
def gc(config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Remove what dead processes left (containers, mounts, files of no session), and copies of plugins out of use."""
    screen = Screen()
    done = _run("tidy_sandboxes", load(config_file, profile))
    if as_json:
        screen.json(done)
        return
    screen.line(
        f"Removed {_count(len(done['containers']), 'container')}, {_count(done['unmounted'], 'mount')},"
        f" {_count(done['workspaces'], 'workspace')} of no session and {_count(done['bundles'], 'bundle')} of plugins."
    )


@command.command("doctor", epilog=example("fairlead sandbox doctor"))
@config_options
@json_option
@click.pass_context
def doctor(ctx: click.Context, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """What this machine has for isolation, layer by layer, and the command that mends what is missing.

    Exits with 1 where no container can be made.
    """
    screen = Screen()
    found = _run("check_sandbox", load(config_file, profile))
    ready = all(each.ok for each in found if each.subject in ("docker engine", "image"))
    if as_json:
        screen.json({"ok": ready, "findings": [attrs.asdict(each) for each in found]})
    for each in () if as_json else found:
        screen.line(f"{'ok ' if each.ok else 'no '}  {one_line(each.subject)}: {escape(each.detail)}")
        if each.next_step:
            screen.line(f"     next: {escape(each.next_step)}", "dim")
    ctx.exit(0 if ready else 1)


@command.command(
    "explain", short_help="Where TOOL runs, with the proof.", epilog=example("fairlead sandbox explain python")
)
@click.argument("tool")
@config_options
@json_option
def explain(tool: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Where TOOL runs: the floor that it asks for, the place that it gets, and the proof, read back from there."""
    screen = Screen()
    found = with_app(keep(load(config_file, profile), "tools"), lambda app: _place_of(app, tool))
    if as_json:
        screen.json(found)
        return
    level = found["evidence"].get("level", found["level"])
    screen.line(f"{escape(tool)}: runs at level {level!r}, asks for {found['floor']!r} at least", "bold")
    if level != found["level"]:
        screen.line("  no engine answers, and the configuration allows a process: isolation.fallback", "yellow")
    if found["problem"]:
        screen.line(f"  it cannot run now: {escape(found['problem'])}", "red")
        screen.line(f"  next: {escape(found['next_step'])}")
    elif place := show_evidence(found["evidence"]):
        screen.line(f"  proof: {place}")
        for name, value in found["evidence"].items():
            screen.line(f"    {escape(name)}: {one_line(str(value), 200)}", "dim")
    else:
        screen.line("  in the host: nothing isolates it")


async def _place_of(app: App, tool: str) -> Mapping[str, Any]:
    worker = app.worker_of(tool)
    if worker is None:
        known = ", ".join(spec.name for spec in app.tools) or "none"
        raise Refused(f"no tool is named {tool!r}; there are: {known}", next_step="fairlead plugins list")
    floor = next(spec.isolation for spec in app.tools if spec.name == tool)
    found = {"tool": tool, "floor": floor, "level": worker.level, "evidence": {}, "problem": "", "next_step": ""}
    try:
        return {**found, "evidence": dict(await worker.evidence())}
    except FairleadError as error:
        return {**found, "problem": error.problem, "next_step": error.next_step}


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _run(name: str, config: Config, **options: Any) -> Any:
    """Call one of the operations."""
    act: Callable[..., Any] = getattr(operations(), name)

    async def run() -> Any:
        return await act(config, **options)

    return trio.run(run)
