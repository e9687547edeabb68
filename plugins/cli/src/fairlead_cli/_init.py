"""`fairlead init`: the first fairlead.toml."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from attrs import frozen

from fairlead import config as configuration
from fairlead.plugins import installed
from fairlead_cli._failures import Refused
from fairlead_cli._options import example, json_option
from fairlead_cli._screen import Screen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fairlead.plugins import InstalledPlugin

    Kind = Literal["channels", "tools", "providers", "memories", "policies"]

__all__ = ["command"]

EXAMPLE = """\
fairlead init
fairlead init --defaults
fairlead init --provider openai --model gpt-5 --key-env OPENAI_API_KEY --channel webhook"""

_STAND_IN = "a-value-that-stands-in-until-the-variable-is-set"


@frozen
class Plan:
    """What shall stand in the file."""

    provider: str
    model: str
    """Empty for the first that the provider lists."""
    key_env: str = ""
    """The environment variable with the provider's key; empty where it needs none."""
    channels: tuple[str, ...] = ()


@click.command("init", epilog=example(EXAMPLE))
@click.option("--defaults", is_flag=True, help="Ask nothing.")
@click.option("--provider", metavar="NAME", help="Who answers: an installed provider.")
@click.option("--model", metavar="NAME", help="The provider's own name of the model.")
@click.option("--key-env", metavar="VARIABLE", help="The environment variable that holds the provider's key.")
@click.option("--channel", "channels", metavar="NAME", multiple=True, help="A channel to serve; may be given again.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("fairlead.toml"),
    show_default=True,
    help="Where to.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@json_option
def command(
    provider: str | None,
    model: str | None,
    key_env: str | None,
    channels: tuple[str, ...],
    output: Path,
    *,
    defaults: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write a fairlead.toml. Keys are not asked for: the file names the environment variables that hold them."""
    _refuse_present(output, force=force)
    plugins = {(plugin.kind, plugin.name): plugin for plugin in installed() if not plugin.problem}
    questions = _Questions(plugins, ask=not defaults)
    chosen = questions.provider(provider)
    plan = Plan(chosen, questions.model(model), questions.key(chosen, key_env), questions.channels(channels))
    text, variables = _render(plan, plugins)
    _write(output, text, variables, force=force)
    unset = [name for name in variables if not os.environ.get(name)]
    screen = Screen()
    if as_json:
        screen.json({"file": str(output), "variables": variables, "unset": unset})
        return
    screen.line(f"{output} is written and valid.", "green")
    for name in unset:
        screen.line(f"  next: export {name}=...")
    screen.line("  next: fairlead run" if plan.channels else '  next: fairlead chat "Hello"')


def _refuse_present(output: Path, *, force: bool) -> None:
    if output.exists() and not force:
        raise Refused(f"{output} is there already", next_step=f"fairlead init --force --output {output}")


class _Questions:
    """Asks for what the options do not say; takes the default where it must not ask."""

    def __init__(self, plugins: Mapping[tuple[Kind, str], InstalledPlugin], *, ask: bool) -> None:
        self._plugins = plugins
        self._ask = ask

    def provider(self, given: str | None) -> str:
        names = self._names("providers")
        if not names:
            raise Refused("no provider is installed", next_step="pip install fairlead-openai")
        default = configuration.default().models["default"][0].provider
        default = default if default in names else names[0]
        return self._one("Provider", "--provider", given, names, default)

    def model(self, given: str | None) -> str:
        return given if given is not None else self._prompt("Model (empty: the provider's first)", "--model", "")

    def key(self, provider: str, given: str | None) -> str:
        manifest = self._plugins["providers", provider].manifest
        if manifest is None or not manifest.secrets:
            return ""
        return given or self._prompt("Environment variable with the key", "--key-env", f"{provider.upper()}_API_KEY")

    def channels(self, given: Sequence[str]) -> tuple[str, ...]:
        names = [name for name in self._names("channels") if name != "terminal"]
        if not given and self._ask and names:
            answer = self._prompt(f"Channels to serve ({', '.join(names)}; empty for none)", "--channel", "")
            given = answer.replace(",", " ").split()
        return tuple(self._one("Channel", "--channel", name, self._names("channels"), "") for name in given)

    def _names(self, kind: Kind) -> list[str]:
        return sorted(name for each, name in self._plugins if each == kind)

    def _one(self, title: str, option: str, given: str | None, names: list[str], default: str) -> str:
        answer = given if given is not None else self._prompt(f"{title} ({', '.join(names)})", option, default)
        if answer not in names:
            problem = f"no {title.lower()} named {answer!r} is installed; there are: {', '.join(names)}"
            raise Refused(problem, next_step=f"fairlead init {option} {names[0]}")
        return answer

    def _prompt(self, question: str, option: str, default: str | None) -> str:
        if not self._ask and default is not None:
            return default
        try:
            answer: str = click.prompt(question, default=default, err=True)
        except click.Abort:
            problem = f"nobody answered {question!r}"
            raise Refused(problem, next_step=f"fairlead init --defaults, or give {option}") from None
        return answer


def _render(plan: Plan, plugins: Mapping[tuple[Kind, str], InstalledPlugin]) -> tuple[str, list[str]]:
    """The file's text, and the environment variables that it needs."""
    lines = [
        "# The configuration of Fairlead. Every key: fairlead schema config",
        "# Check it: fairlead doctor",
        "",
        *(["[models]", f"default = {_quoted(f'{plan.provider}/{plan.model}')}", ""] if plan.model else []),
        f"[providers.{plan.provider}]",
    ]
    variables = []
    manifest = plugins["providers", plan.provider].manifest
    if plan.key_env and manifest is not None:
        variables.append(plan.key_env)
        lines.append(f"{manifest.secrets[0]} = {{ env = {_quoted(plan.key_env)} }}")
    for channel in plan.channels:
        lines += ["", f"[channels.{channel}]"]
        manifest = plugins["channels", channel].manifest
        if manifest is not None and manifest.secrets:
            name = f"{channel.upper()}_{manifest.secrets[0].upper()}"
            variables.append(name)
            lines.append(f"{manifest.secrets[0]} = {{ env = {_quoted(name)} }}")
    return "\n".join(lines) + "\n", variables


def _quoted(text: str) -> str:
    """A TOML string: JSON's is one, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _write(output: Path, text: str, variables: Sequence[str], *, force: bool) -> None:
    """Write beside the place, read that back as the program will, and only then put it there."""
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        draft.write_text(text, "utf-8")
        stand_ins = dict.fromkeys((name for name in variables if not os.environ.get(name)), _STAND_IN)
        configuration.load(draft, environ={**os.environ, **stand_ins})
        if force:
            draft.replace(output)
        else:
            os.link(draft, output)  # unlike a rename, it never replaces a file that somebody made meanwhile
    except FileExistsError:
        _refuse_present(output, force=force)
    except OSError as error:
        raise Refused(
            f"{output} cannot be written: {error.strerror}", next_step="fairlead init --output PATH"
        ) from None
    finally:
        draft.unlink(missing_ok=True)
