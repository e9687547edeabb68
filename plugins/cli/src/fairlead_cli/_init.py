"""`fairlead init`: the first fairlead.toml."""

from __future__ import annotations

import difflib
import json
import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import click
from attrs import frozen

from fairlead import config as configuration
from fairlead.plugins import installed
from fairlead_cli._failures import Refused
from fairlead_cli._options import example, json_option
from fairlead_cli._screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fairlead.plugins import InstalledPlugin

    Kind = Literal["channels", "tools", "providers", "memories", "policies"]

__all__ = ["command"]

EXAMPLE = """\
fairlead init
fairlead init --defaults
fairlead init --provider openai --model gpt-6.1-sol --key-env OPENAI_API_KEY --channel webhook"""

T = TypeVar("T")
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
        check = partial(_installed, "provider", names)
        return check(given) if given is not None else self._prompt(f"Provider ({', '.join(names)})", default, check)

    def model(self, given: str | None) -> str:
        return given if given is not None else self._prompt("Model (empty: the provider's first)", "", str.strip)

    def key(self, provider: str, given: str | None) -> str:
        manifest = self._plugins["providers", provider].manifest
        if manifest is None or not manifest.secrets:
            return ""
        default = _variable(provider, manifest.secrets[0])
        return _as_variable(given) if given else self._prompt("Variable with the key", default, _as_variable)

    def channels(self, given: Sequence[str]) -> tuple[str, ...]:
        names = self._names("channels")
        offered = [name for name in names if name != "terminal"]
        if given or not offered:
            return tuple(_installed("channel", names, name) for name in given)
        question = f"Channels to serve ({', '.join(offered)}; empty for none)"
        return self._prompt(question, "", partial(_channels, names))

    def _names(self, kind: Kind) -> list[str]:
        return sorted(name for each, name in self._plugins if each == kind)

    def _prompt(self, question: str, default: str, check: Callable[[str], T]) -> T:
        """What a person answers, asked again until *check* takes it; the default where nobody is asked."""
        if not self._ask:
            return check(default)

        def checked(answer: str) -> T:
            try:
                return check(answer)
            except Refused as refusal:
                raise click.UsageError(refusal.problem) from None

        try:
            found: T = click.prompt(question, default=default, show_default=bool(default), value_proc=checked, err=True)
        except click.Abort:
            raise Refused(f"nobody answered {question!r}", next_step="fairlead init --defaults") from None
        return found


def _installed(kind: str, names: Sequence[str], name: str) -> str:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1) or names
        problem = f"no {kind} named {name!r} is installed; there are: {', '.join(names)}"
        raise Refused(problem, next_step=f"fairlead init --{kind} {near[0]}")
    return name


def _channels(names: Sequence[str], answer: str) -> tuple[str, ...]:
    return tuple(_installed("channel", names, name) for name in answer.replace(",", " ").split())


def _variable(*words: str) -> str:
    """The name of an environment variable: ``FAIRLEAD_WEBHOOK_SECRET``."""
    return re.sub(r"\W", "_", "_".join(words), flags=re.ASCII).upper()


def _as_variable(name: str) -> str:
    """The name as it is. `Refused`: it is none, and may be the key itself, which is neither shown nor written."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
        raise Refused(
            "expected the name of an environment variable (letters, digits and '_'), not the key itself",
            next_step="fairlead init --key-env NAME",
        )
    return name


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
            name = _variable("fairlead", channel, manifest.secrets[0])
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
