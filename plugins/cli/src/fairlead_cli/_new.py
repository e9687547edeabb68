"""`fairlead new`: a project for a plugin that builds, and keeps every promise of its kind from the first minute."""

from __future__ import annotations

import json
import keyword
import re
import shlex
from datetime import UTC, datetime
from importlib.metadata import distributions
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import click
from attrs import frozen

from fairlead.plugins import installed
from fairlead_cli._failures import Refused
from fairlead_cli._options import example, json_option
from fairlead_cli._screen import Screen
from fairlead_cli._text import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["command"]

_LONGEST = 40
"""Characters of a name: it becomes a package, a distribution and a table."""


@frozen
class _Kind:
    """What the templates say of one kind."""

    group: str
    about: str
    setting: str
    type: str
    default: str
    """As JSON, which is TOML as well."""
    meaning: str


KINDS: Mapping[str, _Kind] = {
    "channel": _Kind(
        "channels", "It carries messages.", "room", "string", '""', "The one room to listen in; empty: all."
    ),
    "tool": _Kind("tools", "It greets people.", "greeting", "string", '"Hello"', "The word before the name."),
    "provider": _Kind("providers", "It answers by rules.", "model", "string", '"echo"', "How the model is called."),
    "memory": _Kind(
        "memories", "It recalls notes.", "file", "string", '"notes.json"', "The file in the data directory."
    ),
    "policy": _Kind("policies", "It forbids words.", "words", "array", '["password"]', "What no call may name."),
}
ASYNCIO = ("channel", "tool")
"""Kinds that have a form for asyncio."""
LICENSES = ("MIT", "Apache-2.0", "none")


@click.command(
    "new",
    epilog=example("fairlead new tool dice\nfairlead new channel pager --directory ~/work/pager --license Apache-2.0"),
)
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name")
@click.option("--distribution", metavar="NAME", help="What is installed; by default fairlead-NAME.")
@click.option(
    "--directory", type=click.Path(file_okay=False, path_type=Path), help="Where to; by default ./DISTRIBUTION."
)
@click.option(
    "--license", "license_", type=click.Choice(LICENSES), default="MIT", show_default=True, help="Its licence."
)
@click.option(
    "--runtime", type=click.Choice(("trio", "asyncio")), default="trio", show_default=True, help="Its event loop."
)
@json_option
def command(
    kind: str,
    name: str,
    distribution: str | None,
    directory: Path | None,
    license_: str,
    runtime: str,
    *,
    as_json: bool,
) -> None:
    """Write a project for a plugin.

    It has a package with one worker, its metadata, tests with the conformance kit of its KIND, a README, a licence and
    a file for CI. It builds and passes as it is: change the worker, and the tests say what you break. On asyncio, for
    the library of a platform that needs it, there are channels and tools; they run in a process of their own.
    """
    made = distribution or f"fairlead-{name}"
    target = (directory or Path(made)).expanduser()
    _refuse_name(kind, name, made)
    if runtime == "asyncio" and kind not in ASYNCIO:
        problem = f"expected {' or '.join(ASYNCIO)} for asyncio, found {kind}"
        raise Refused(problem, next_step=shlex.join(["fairlead", "new", kind, name]))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        other = shlex.join(["fairlead", "new", kind, name, "--directory", "OTHER"])
        raise Refused(f"{target} is there already", next_step=other)
    texts = render(kind, name, made, license_, runtime)
    _write(target, texts)
    screen = Screen()
    if as_json:
        screen.json({"directory": str(target), "distribution": made, "files": sorted(texts)})
        return
    screen.line(f"{escape(str(target))} has a {kind} that passes its conformance kit:", "green")
    for path in sorted(texts):
        screen.line(f"  {path}")
    screen.line(f'  next: cd {shlex.quote(str(target))} && pip install -e ".[test]" && pytest && fairlead check .')


def render(kind: str, name: str, distribution: str, license_: str, runtime: str = "trio") -> dict[str, str]:
    """The files of a project, by their paths in it."""
    about = KINDS[kind]
    package = distribution.replace("-", "_")
    words = name.split("-")
    class_name = "".join(map(str.capitalize, words if words[-1] == kind else [*words, kind]))
    names = sorted([class_name, "Event", "Platform"])
    values = {
        "kind": kind,
        "runtime": runtime,
        "for_tests": ', "fairlead-sandbox>=0.1,<1"' if runtime == "asyncio" else "",
        "name": name,
        "package": package,
        "distribution": distribution,
        "identifier": name.replace("-", "_"),
        "class_name": class_name,
        "names": ", ".join(names),
        "quoted_names": ", ".join(f'"{each}"' for each in names),
        "title": " ".join(words).capitalize(),
        "license_line": "" if license_ == "none" else f'license = "{license_}"\nlicense-files = ["LICENSE"]',
        "year": str(datetime.now(UTC).year),
        "example": f"{about.setting} = {about.default}",
        **{key: getattr(about, key) for key in ("group", "about", "setting", "type", "default", "meaning")},
    }
    source = f"src/{package}"
    form = kind if runtime == "trio" else f"{kind}.{runtime}"
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".github/workflows/ci.yml": "ci.yml",
        f"{source}/fairlead-plugin.json": "fairlead-plugin.json",
        f"{source}/plugin.py": f"{form}.plugin.py",
        f"tests/test_{package}.py": f"{form}.test.py",
        **({} if license_ == "none" else {"LICENSE": f"LICENSE-{license_}"}),
    }
    made = {path: _filled(template, values) for path, template in templates.items()}
    made[f"{source}/__init__.py"] = f'"""{values["title"]}: a {kind} for Fairlead."""\n'
    made[f"{source}/py.typed"] = ""
    json.loads(made[f"{source}/fairlead-plugin.json"])
    return made


def _filled(template: str, values: Mapping[str, str]) -> str:
    text = (files("fairlead_cli") / "templates" / f"{template}.txt").read_text("utf-8")
    filled = Template(text).substitute(values)
    return filled.replace("\n\n\n", "\n") if template.endswith(".toml") else filled


def _write(target: Path, texts: Mapping[str, str]) -> None:
    """All of it, or an error."""
    try:
        for path, text in texts.items():
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
    except OSError as error:
        problem = f"{error.filename or target} cannot be written: {error.strerror}"
        raise Refused(problem, next_step="fairlead new KIND NAME --directory OTHER") from None


def _refuse_name(kind: str, name: str, made: str) -> None:
    """Names that the project cannot have, or that somebody has already."""
    other = f"fairlead new {kind} my-{name}"
    for each in (name, made):
        if re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", each) is None or len(each) > _LONGEST:
            expected = f"small letters and digits with single dashes between, {_LONGEST} at most"
            raise Refused(
                f"found the name {each!r}, expected {expected}", next_step=f"fairlead new {kind} {_proposed(each)}"
            )
    if keyword.iskeyword(name) or keyword.iskeyword(made):
        raise Refused(f"{name!r} is a word of Python", next_step=other)
    for one in distributions(name=made):
        raise Refused(f"the name {name!r} is taken: {made} {one.version} is installed", next_step=other)
    group = KINDS[kind].group
    taken = next((one for one in installed() if (one.kind, one.name) == (group, name)), None)
    if taken is not None:
        problem = f"the name {name!r} is taken: {taken.distribution} {taken.version} is installed"
        raise Refused(problem, next_step=other)


def _proposed(name: str) -> str:
    """A name that would do."""
    letters = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST].strip("-")
    return re.sub(r"^[^a-z]+", "", letters) or "dice"
