"""What `fairlead init` asks of a plugin's settings, by its manifest alone, and how a value stands in the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from fairlead.errors import SchemaError
from fairlead.plugins import Manifest
from fairlead.wire import build_validator
from fairlead_cli._failures import Refused
from fairlead_cli._text import one_line

__all__ = ["Setting", "check_table", "given_settings", "questions", "quoted", "rendered", "variable_name"]

_ENV = "env:"
"""How a secret is named on the command line: ``--set telegram.token=env:BOT_TOKEN``."""


@frozen
class Setting:
    """One key of a plugin's table, as somebody is asked for it."""

    table: str
    """The plugin's name in the file."""
    key: str
    schema: Mapping[str, Any]
    required: bool
    secret: bool

    @property
    def name(self) -> str:
        """``irc.host``."""
        return f"{self.table}.{self.key}"

    @property
    def question(self) -> str:
        """What a person reads: what it is, and how it may look."""
        about = one_line(str(self.schema.get("description", "")), 120).rstrip(".")
        words = f"Variable with {self.name}" if self.secret else self.name
        hints = [f"such as {_shown(self.example)}"] if self.example is not None and not self.secret else []
        hints += [f"one of {', '.join(map(str, self.schema['enum']))}"] if "enum" in self.schema else []
        hints += [] if self.required else ["empty for none"]
        return f"{words}: {about}" + (f" ({'; '.join(hints)})" if hints else "")

    @property
    def example(self) -> Any:
        """The first example; None where there is none."""
        found = self.schema.get("examples")
        return found[0] if isinstance(found, list) and found else None

    @property
    def default(self) -> str:
        """What stands there where nobody answers; empty where somebody must."""
        if self.secret:
            return variable_name("fairlead", self.table, self.key) if self.required else ""
        return _shown(self.schema["default"]) if self.required and "default" in self.schema else ""

    def read(self, text: str, *, asked: bool = True) -> Any:
        """The value that somebody typed. `Refused`: what is expected instead; a secret is not repeated.

        Where nobody was *asked* for the name of a variable, it must be marked as one: it may be the password itself.
        """
        again = f"fairlead init --set {self.name}={_ENV + 'NAME' if self.secret else _shown(self.example or '...')}"
        if self.secret:
            name = text.removeprefix(_ENV)
            marked = asked or text.startswith(_ENV)
            if not marked or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
                problem = f"{self.name} is a secret: expected the name of the environment variable that holds it"
                raise Refused(problem, next_step=again)
            return {"env": name}
        value = _typed(text, self.schema)
        validator = build_validator({key: word for key, word in self.schema.items() if key != "examples"})
        wrong = next(iter(validator.iter_errors(value)), None)
        if wrong is not None:
            raise Refused(f"{self.name}: {one_line(wrong.message, 200)}", next_step=again)
        return value


def questions(table: str, manifest: Manifest | None) -> list[Setting]:
    """What is asked: what is required, and beside it what has examples or is a secret. Nothing without `required`."""
    every = settings_of(table, manifest)
    if not any(setting.required for setting in every):
        return []
    return [
        one for one in every if one.required or "examples" in one.schema or (one.secret and "default" not in one.schema)
    ]


def settings_of(table: str, manifest: Manifest | None) -> list[Setting]:
    """All keys, in the order of the manifest."""
    schema = manifest.settings if manifest is not None else {}
    secrets = manifest.secrets if manifest is not None else ()
    required = schema.get("required", ())
    properties: Mapping[str, Any] = schema.get("properties", {})
    return [
        Setting(table, key, about if isinstance(about, dict) else {}, key in required, key in secrets)
        for key, about in properties.items()
    ]


def given_settings(pairs: Iterable[str], manifests: Mapping[str, Manifest | None]) -> dict[str, dict[str, Any]]:
    """What ``--set NAME.KEY=VALUE`` says, by table. `Refused`: no such table or key, or a value that does not match."""
    found: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        table, dot, key = name.strip().partition(".")
        if not equals or not dot:
            raise Refused("expected NAME.KEY=VALUE", next_step="fairlead init --set irc.host=irc.example.org")
        if table not in manifests:
            known = ", ".join(manifests) or "none"
            raise Refused(
                f"--set {name}: {table!r} is not chosen; there are: {known}",
                next_step=f"fairlead init --channel {table}",
            )
        settings = {setting.key: setting for setting in settings_of(table, manifests[table])}
        if key not in settings:
            problem = f"--set {name}: {table!r} has no key {key!r}; it has: {', '.join(settings) or 'none'}"
            raise Refused(problem, next_step=f"fairlead plugins show {table}")
        found.setdefault(table, {})[key] = settings[key].read(text, asked=False)
    return found


def check_table(table: str, manifest: Manifest | None, values: Mapping[str, Any]) -> None:
    """Hold the whole table against the manifest. `Refused`: what is missing, or does not fit together."""
    if manifest is None or not manifest.settings:
        return
    plain = {
        key: "a-secret" if isinstance(value, dict) and value.keys() == {"env"} else value
        for key, value in values.items()
    }
    try:
        wrong = next(iter(build_validator(manifest.settings).iter_errors(plain)), None)
    except SchemaError:
        return  # the plugin's own fault, which `fairlead doctor` tells
    if wrong is not None:
        place = ".".join([table, *map(str, wrong.absolute_path)])
        raise Refused(f"{place}: {one_line(wrong.message, 200)}", next_step=f"fairlead plugins show {table}")


def variable_name(*words: str) -> str:
    """The name of an environment variable: ``FAIRLEAD_WEBHOOK_SECRET``."""
    return re.sub(r"\W", "_", "_".join(words), flags=re.ASCII).upper()


def quoted(text: str) -> str:
    """A TOML string: JSON's is one, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def rendered(value: Any) -> str:
    """A value as TOML; tables are inline."""
    if isinstance(value, Mapping):
        inner = ", ".join(
            f"{key if re.fullmatch(r'[A-Za-z0-9_-]+', key) else quoted(key)} = {rendered(each)}"
            for key, each in value.items()
        )
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(rendered, value))}]"
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def _shown(value: Any) -> str:
    """As somebody types it."""
    if isinstance(value, list) and all(isinstance(each, str) and "," not in each for each in value):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    """Text where text is wanted; else JSON, and for a list also words with commas between."""
    wanted = schema.get("type", "string")
    kinds = [wanted] if isinstance(wanted, str) else list(wanted)
    if "string" in kinds:
        return text
    try:
        return json.loads(text)
    except ValueError:
        listed = [word.strip() for word in text.split(",") if word.strip()]
        return listed if "array" in kinds else text
