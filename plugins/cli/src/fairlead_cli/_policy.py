"""`fairlead policy`: why something may happen or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fairlead import Address, Principal, ToolCall
from fairlead.errors import SchemaError
from fairlead.wire import loads, unstructure
from fairlead_cli._failures import Refused
from fairlead_cli._options import config_options, example, json_option, keep, load, with_app
from fairlead_cli._screen import Screen
from fairlead_cli._text import escape, show_arguments

if TYPE_CHECKING:
    from fairlead import App, Verdict

__all__ = ["command"]

_STYLES = {"allow": "green", "deny": "red"}


@click.group("policy", epilog=example("fairlead policy explain calculate"), no_args_is_help=True)
def command() -> None:
    """Why a tool call is allowed or denied."""


@command.command(
    "explain",
    short_help="What would become of a call of TOOL, and why.",
    epilog=example("""fairlead policy explain calculate '{"expression": "2 * 3"}'"""),
)
@click.argument("tool")
@click.argument("arguments", default="{}", metavar="[JSON-ARGS]")
@click.option("--agent", help="As this agent; by default the first one.")
@click.option("--principal", help="For this person: terminal:anna.")
@click.option("--channel", help="As if the message had come from this channel.")
@config_options
@json_option
def explain(  # one parameter an option
    tool: str,
    arguments: str,
    agent: str | None,
    principal: str | None,
    channel: str | None,
    config_file: str | None,
    profile: str | None,
    *,
    as_json: bool,
) -> None:
    """What would become of a call of TOOL, which rule of which layer decides, and what every policy says."""
    config = keep(load(config_file, profile), "tools", "policies")
    if agent is not None and agent not in [known.name for known in config.agents]:
        names = ", ".join(known.name for known in config.agents)
        raise Refused(f"no agent is named {agent!r}; there are: {names}", next_step="fairlead policy explain --help")
    call = ToolCall("explain", tool, _arguments(tool, arguments))
    person = Principal(principal) if principal else None
    place = Address(channel) if channel else None

    async def ask(app: App) -> tuple[Any, list[str]]:
        return await app.explain(call, agent=agent, principal=person, address=place), [spec.name for spec in app.tools]

    found, known = with_app(config, ask)
    screen = Screen()
    if tool not in known:
        screen.note(
            f"No plugin here offers a tool {escape(tool)}; there are: {escape(', '.join(known)) or 'none'}. "
            "What follows holds for one that a program of yours hands in.",
            "yellow",
        )
    if as_json:
        verdicts = [_plain(verdict) for verdict in found.verdicts]
        screen.json({"tool": tool, "arguments": call.arguments, **_plain(found.verdict), "verdicts": verdicts})
        return
    shown = f"{escape(tool)}({show_arguments(call.arguments)})"
    screen.line(f"{shown}: {found.verdict.effect}", _STYLES.get(found.verdict.effect, "yellow"))
    screen.line(f"  decided by {_words(found.verdict)}")
    screen.line("all verdicts:" if found.verdicts else "no policy said anything about it.")
    for verdict in found.verdicts:
        screen.line(f"  {verdict.effect}: {_words(verdict)}")


def _arguments(tool: str, text: str) -> dict[str, Any]:
    try:
        found = loads(text)
    except SchemaError as error:
        problem = error.problem
    else:
        if isinstance(found, dict):
            return found
        problem = f"it is a {type(found).__name__}"
    raise Refused(
        f"the arguments are {text!r}, expected a JSON object: {problem}",
        next_step=f"""fairlead policy explain {tool} '{{"name": "value"}}'""",
    )


def _words(verdict: Verdict) -> str:
    text = f"rule {verdict.rule!r} of layer {verdict.layer!r}"
    text += f" in policy {verdict.policy!r}" if verdict.policy else ""
    if verdict.effect == "ask":
        text += f", which waits for an approval by {' or '.join(verdict.approvers) or 'the person whose turn it is'}"
    return escape(f"{text}: {verdict.reason}" if verdict.reason else text)


def _plain(verdict: Verdict) -> dict[str, Any]:
    fields = ("effect", "rule", "layer", "policy", "reason")
    plain: dict[str, Any] = {name: getattr(verdict, name) for name in fields}
    if verdict.approvers:
        plain["approvers"] = list(verdict.approvers)
    return plain if verdict.revised is None else {**plain, "revised": unstructure(verdict.revised)}
