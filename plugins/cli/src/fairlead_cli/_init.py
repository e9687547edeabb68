"""`fairlead init`: the first fairlead.toml."""

from __future__ import annotations

import difflib
import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
from attrs import evolve, field, frozen

from fairlead import config as configuration
from fairlead.plugins import installed
from fairlead_cli._failures import Refused
from fairlead_cli._init_settings import (
    Setting,
    check_table,
    given_settings,
    questions,
    quoted,
    rendered,
    variable_name,
)
from fairlead_cli._options import example, json_option
from fairlead_cli._screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fairlead.plugins import InstalledPlugin, Manifest

    Kind = Literal["channels", "tools", "providers", "memories", "policies"]

__all__ = ["command"]

EXAMPLE = """\
fairlead init
fairlead init --defaults
fairlead init --provider openai --model gpt-6.1-sol --key-env OPENAI_API_KEY --channel webhook
fairlead init --defaults --channel irc --set irc.host=irc.example.org --set irc.nick=helper"""

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
    settings: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    """What their tables have, by the name of the plugin."""


@click.command("init", epilog=example(EXAMPLE))
@click.option("--defaults", is_flag=True, help="Ask nothing.")
@click.option("--provider", metavar="NAME", help="Who answers: an installed provider.")
@click.option("--model", metavar="NAME", help="The provider's own name of the model.")
@click.option("--key-env", metavar="VARIABLE", help="The environment variable that holds the provider's key.")
@click.option("--channel", "channels", metavar="NAME", multiple=True, help="A channel to serve; may be given again.")
@click.option(
    "--set", "pairs", metavar="NAME.KEY=VALUE", multiple=True, help="A setting of a chosen channel or provider."
)
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
    pairs: tuple[str, ...],
    output: Path,
    *,
    defaults: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write a fairlead.toml.

    You are asked for what a channel needs, as its own metadata says; --set answers before you are asked. Keys and
    passwords are not asked for: the file names the environment variables that hold them, as in
    --set telegram.token=env:NAME.
    """
    _refuse_present(output, force=force)
    found = installed(configuration.default().data_dir)
    plugins = {(plugin.kind, plugin.name): plugin for plugin in found if not plugin.problem}
    asked = _Questions(plugins, ask=not defaults)
    chosen = asked.provider(provider)
    model, key = asked.model(model), asked.key(chosen, key_env)
    plan = Plan(chosen, model, key, asked.channels(channels))
    plan = evolve(plan, settings=asked.settings(plan, pairs))
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
        default = variable_name(provider, manifest.secrets[0])
        return _as_variable(given) if given else self._prompt("Variable with the key", default, _as_variable)

    def channels(self, given: Sequence[str]) -> tuple[str, ...]:
        names = self._names("channels")
        offered = [name for name in names if name != "terminal"]
        if given or not offered:
            return tuple(_installed("channel", names, name) for name in given)
        question = f"Channels to serve ({', '.join(offered)}; empty for none)"
        return self._prompt(question, "", partial(_channels, names))

    def settings(self, plan: Plan, pairs: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The tables of the provider and the channels: what was said, and what somebody is asked for beside it."""
        tables: list[tuple[Kind, str]] = [("providers", plan.provider), *(("channels", name) for name in plan.channels)]
        manifests = {name: self._plugins[kind, name].manifest for kind, name in tables}
        found = given_settings(pairs, manifests)
        for name in plan.channels:
            table = found.setdefault(name, {})
            for setting in questions(name, manifests[name]):
                if setting.key not in table and (answer := self._setting(setting)) is not None:
                    table[setting.key] = answer
            if not questions(name, manifests[name]):
                found[name] = {**_first_secret(name, manifests[name]), **table}
            check_table(name, manifests[name], found[name])
        return found

    def _setting(self, setting: Setting) -> Any:
        """The value; None for none."""
        if not self._ask and setting.required and not setting.default:
            shown = setting.example if isinstance(setting.example, str) else "VALUE"
            raise Refused(
                f"nobody is asked, and somebody must say {setting.question}",
                next_step=f"fairlead init --set {setting.name}={shown}",
            )
        needed = setting.required
        return self._prompt(
            setting.question, setting.default, lambda text: setting.read(text) if text.strip() or needed else None
        )

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


def _first_secret(name: str, manifest: Manifest | None) -> dict[str, Any]:
    """Of a channel that says nothing of what it requires: where its secret is to be."""
    secrets = manifest.secrets[:1] if manifest is not None else ()
    return {key: {"env": variable_name("fairlead", name, key)} for key in secrets}


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
        *(["[models]", f"default = {quoted(f'{plan.provider}/{plan.model}')}", ""] if plan.model else []),
        f"[providers.{plan.provider}]",
    ]
    values = dict(plan.settings.get(plan.provider, {}))
    manifest = plugins["providers", plan.provider].manifest
    if plan.key_env and manifest is not None:
        values = {manifest.secrets[0]: {"env": plan.key_env}, **values}
    lines += [f"{key} = {rendered(value)}" for key, value in values.items()]
    tables = [values]
    for channel in plan.channels:
        table = plan.settings.get(channel, {})
        lines += ["", f"[channels.{channel}]", *(f"{key} = {rendered(value)}" for key, value in table.items())]
        tables.append(dict(table))
    variables = [value["env"] for table in tables for value in table.values() if _is_variable(value)]
    return "\n".join(lines) + "\n", list(dict.fromkeys(variables))


def _is_variable(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"env"}


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
