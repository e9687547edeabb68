"""`fairlead.toml` read into `Config`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fairlead import Secret, config
from fairlead.errors import ConfigError

KEY = "sk-a-value-that-nobody-may-see"
TEN_LINES = """
[models]
default = "anthropic/claude-sonnet-4-5"

[providers.anthropic]
api_key = { env = "MY_KEY" }
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "fairlead.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def names(found: config.Config, kind: str) -> list[str]:
    return [plugin.name for plugin in found.plugins if plugin.kind == kind]


def refused(path: Path, environ: Mapping[str, str] | None = None, **arguments: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.load(path, environ=environ or {}, **arguments)
    return caught.value


# -- which file


def test_no_file_gives_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without argument, variable and file, `load` is `default`."""
    monkeypatch.chdir(tmp_path)
    assert config.find(environ={}) is None
    assert config.default(environ={}) == config.load(environ={})


def test_file_in_the_working_directory_is_found(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``./fairlead.toml`` is read where nothing else is said."""
    write("[limits]\nsteps = 7\n")
    monkeypatch.chdir(tmp_path)
    assert 7 == config.load(environ={}).limits.steps


def test_variable_is_stronger_than_the_working_directory(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """``FAIRLEAD_CONFIG`` names the file."""
    path = write("[limits]\nsteps = 7\n")
    monkeypatch.chdir(path.parent.parent)
    assert 7 == config.load(environ={"FAIRLEAD_CONFIG": str(path)}).limits.steps


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is named must be there."""
    error = refused(tmp_path / "none.toml")
    assert (str(tmp_path / "none.toml"), "fairlead init") == (error.file, error.next_step)


def test_file_of_another_editor_is_read(tmp_path: Path) -> None:
    """A byte order mark and other ends of lines do not count, nor do they hide the line of a fault."""
    path = tmp_path / "fairlead.toml"
    path.write_bytes(b"\xef\xbb\xbf[limits]\r\nsteps = 7\r\nqueue = 'x'\r\n[lanes]\r\n")
    assert 3 == refused(path).line


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """TOML is UTF-8."""
    path = tmp_path / "fairlead.toml"
    path.write_bytes(b"a = '\xff'")
    assert "cannot be read" in refused(path).problem


# -- what a file inherits


def test_provider_and_model_are_enough(write: Write) -> None:
    """A file of one provider and one model has tools, a memory and rules."""
    found = config.load(write(TEN_LINES), environ={"MY_KEY": KEY})
    assert ["anthropic"] == names(found, "providers")
    assert ["clock", "calculator", "notes", "workbench"] == names(found, "tools")
    assert ["sqlite"] == names(found, "memories")
    assert ["rules", "contacts"] == names(found, "policies")
    assert {"default": (config.ModelRef("anthropic", "claude-sonnet-4-5"),)} == found.models
    assert [False] == [plugin.optional for plugin in found.plugins if plugin.kind == "providers"]
    assert all(plugin.optional for plugin in found.plugins if plugin.kind != "providers")


def test_enabled_table_replaces_the_defaults_of_its_kind(write: Write) -> None:
    """Whoever names a tool gets that one, in the order of the file."""
    found = config.load(write("[tools.notes]\n[tools.clock]\n"), environ={})
    assert ["notes", "clock"] == names(found, "tools")


def test_table_that_is_off_takes_one_default_away(write: Write) -> None:
    """``enabled = false`` leaves the other defaults of its kind."""
    found = config.load(write("[tools.notes]\nenabled = false\n"), environ={})
    assert ["clock", "calculator", "workbench"] == names(found, "tools")


def test_empty_file_has_the_default_models(write: Write) -> None:
    """Without providers the default ones answer, and they are the chain."""
    found = config.load(write(""), environ={"OPENAI_API_KEY": KEY})
    assert config.default(environ={"OPENAI_API_KEY": KEY}).models == found.models


def test_chain_of_the_default_has_only_providers_that_are_on(write: Write) -> None:
    """A vendor that is switched off is not asked, though its key is there."""
    found = config.load(write("[providers.openai]\nenabled = false\n"), environ={"OPENAI_API_KEY": KEY})
    assert ["rehearsal"] == [ref.provider for ref in found.models["default"]]
    assert {} == config.load(write("[providers.rehearsal]\nenabled = false\n"), environ={}).models


def test_core_keys_are_no_options(write: Write) -> None:
    """``plugin``, ``isolation`` and ``enabled`` are the core's, all else is the plugin's."""
    text = '[channels.office]\nplugin = "irc"\nisolation = "host"\nenabled = true\nport = 6667\n'
    expected = config.PluginConfig("channels", "office", "irc", "host", {"port": 6667})
    assert [expected] == [plugin for plugin in config.load(write(text), environ={}).plugins if plugin.name == "office"]


# -- models


@pytest.mark.parametrize(
    ("value", "chain"),
    [
        ('"p/m"', [config.ModelRef("p", "m")]),
        ('"p/m/n"', [config.ModelRef("p", "m/n")]),
        ('["p/m", "p/n"]', [config.ModelRef("p", "m"), config.ModelRef("p", "n")]),
        ('{ provider = "p", model = "m" }', [config.ModelRef("p", "m")]),
        (
            '["p/m", { provider = "p", model = "a/b", credential = "second", options = { effort = "low" } }]',
            [config.ModelRef("p", "m"), config.ModelRef("p", "a/b", "second", {"effort": "low"})],
        ),
    ],
)
def test_chain_of_models(write: Write, value: str, chain: list[config.ModelRef]) -> None:
    """A model is a text or a table, a chain one of them or a list."""
    found = config.load(write(f"[providers.p]\n[models]\ndefault = {value}\n"), environ={})
    assert tuple(chain) == found.models["default"]


# -- references


def test_reference_to_a_variable_is_a_secret(write: Write) -> None:
    """Its value appears in no text of the configuration."""
    found = config.load(write(TEN_LINES), environ={"MY_KEY": KEY})
    secret = next(plugin for plugin in found.plugins if plugin.name == "anthropic").options["api_key"]
    assert isinstance(secret, Secret)
    assert (KEY, "env MY_KEY") == (secret.reveal(), secret.source)
    assert KEY not in repr(found)


def test_reference_to_a_file_starts_at_the_configuration(write: Write, tmp_path: Path) -> None:
    """A relative path starts there, and the end of the last line does not count."""
    (tmp_path / "key").write_text(KEY + "\n")
    found = config.load(write('[channels.a]\nlist = [{ deep = { file = "key" } }]\n'), environ={})
    secret = found.plugins[0].options["list"][0]["deep"]
    assert (KEY, "file key") == (secret.reveal(), secret.source)


def test_plain_secret_is_not_shown(write: Write) -> None:
    """Whoever prints the configuration shows no option."""
    found = config.load(write(f'[providers.openai]\napi_key = "{KEY}"\n'), environ={})
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ('{ env = "NONE" }', "the environment variable NONE is not set"),
        ('{ env = "EMPTY" }', "the environment variable EMPTY is empty"),
        ("{ env = 5 }", 'expected env = "..." with a text in quotes'),
        ('{ file = "none" }', "the file 'none' cannot be read: No such file or directory"),
        ('{ file = "empty" }', "the file 'empty' is empty"),
        ('{ file = "binary" }', "the file 'binary' cannot be read: it is not text in UTF-8"),
    ],
)
def test_reference_that_leads_nowhere(write: Write, tmp_path: Path, reference: str, problem: str) -> None:
    """The key and the variable or file are named."""
    (tmp_path / "empty").write_text("")
    (tmp_path / "binary").write_bytes(b"\xff")
    error = refused(write(f"\n[providers.p]\nkey = {reference}\n"), {"EMPTY": ""})
    assert (3, "providers.p.key", problem) == (error.line, error.path, error.problem)


def test_plugin_that_is_off_reads_no_variable(write: Write) -> None:
    """Its references are not followed."""
    text = '[channels.a]\nenabled = false\nkey = { env = "NONE" }\n'
    assert [] == names(config.load(write(text), environ={}), "channels")


# -- profiles

PROFILES = """
[limits]
steps = 1
queue = 9
[channels.a]
key = { env = "MY_KEY" }
[profiles.development.limits]
steps = 2
[profiles.production]
models.default = "p/m"
[profiles.production.limits]
steps = 3
[profiles.production.providers.p]
[profiles.production.memories.sqlite]
[profiles.production.channels.a]
key = { file = "key" }
"""


@pytest.mark.parametrize(
    ("argument", "variable", "written", "profile"),
    [
        (None, "", "", "development"),
        (None, "", "production", "production"),
        (None, "development", "production", "development"),
        ("production", "development", "development", "production"),
    ],
)
def test_profile_is_chosen(write: Write, argument: str | None, variable: str, written: str, profile: str) -> None:
    """The argument is stronger than the variable, which is stronger than the file."""
    text = (f'profile = "{written}"\n' if written else "") + PROFILES
    path = write(text)
    (path.parent / "key").write_text(KEY)
    found = config.load(path, profile=argument, environ={"FAIRLEAD_PROFILE": variable, "MY_KEY": "x"})
    assert profile == found.profile
    assert ({"development": 2, "production": 3}[profile], 9) == (found.limits.steps, found.limits.queue)


def test_reference_of_a_profile_replaces_the_other_one(write: Write) -> None:
    """Tables are merged, but a reference is a value."""
    path = write(PROFILES)
    (path.parent / "key").write_text(KEY)
    found = config.load(path, profile="production", environ={})
    assert ["file key"] == [plugin.options["key"].source for plugin in found.plugins if plugin.name == "a"]


def test_unknown_profile_is_refused(write: Write) -> None:
    """The message names the two that there are."""
    error = refused(write(""), {"FAIRLEAD_PROFILE": "prod"})
    assert ("found profile 'prod', expected one of development, production", "FAIRLEAD_PROFILE") == (
        error.problem,
        error.path,
    )


def test_production_names_what_is_missing(write: Write) -> None:
    """A model and a memory must be named."""
    text = str(refused(write('profile = "production"\n')))
    assert "models.default: profile production needs a model that is named" in text
    assert "memories: profile production needs a memory that is named" in text


def test_production_has_no_rehearsal(write: Write) -> None:
    """Also under another name."""
    text = '[models]\ndefault = "p/x"\n[providers.p]\nplugin = "rehearsal"\n[memories.sqlite]\n'
    error = refused(write(text), profile="production")
    assert (2, "models.default") == (error.line, error.path)
    assert "the rehearsal, which only pretends" in error.problem


def test_production_wants_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is for trying out."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"needs a fairlead\.toml"):
        config.load(environ={"FAIRLEAD_PROFILE": "production"})


def test_production_with_all_that_it_needs(write: Write) -> None:
    """Tools and rules still come from the default."""
    text = 'profile = "production"\n[models]\ndefault = "openai/x"\n[providers.openai]\n[memories.sqlite]\n'
    assert ["clock", "calculator", "notes", "workbench"] == names(config.load(write(text), environ={}), "tools")


# -- faults


def test_all_faults_are_told_with_their_lines(write: Write) -> None:
    """One reading shows everything that the schema refuses."""
    text = (
        '[limits]\nstepz = 5\nqueue = "x"\n[toolz.clock]\n[tools.clock]\nisolation = "hots"\n[[bindings]]\nrole = "a"\n'
    )
    path = write(text)
    error = refused(path)
    lines = str(error).splitlines()
    assert (2, "limits.stepz") == (error.line, error.path)
    assert f"{path}:2: limits.stepz: unknown key 'stepz'; did you mean 'steps'?" == lines[0]
    assert lines[1].startswith(f"  also {path}:3: limits.queue: found 'x', expected type integer")
    assert lines[2].startswith(f"  also {path}:4: toolz: unknown key 'toolz'; did you mean 'tools'?")
    assert lines[3].startswith(f"  also {path}:6: tools.clock.isolation: found 'hots', expected one of 'host', ")
    assert lines[4].startswith(f"  also {path}:7: bindings.0: 'agent' is a required property")
    assert "  next: fairlead schema config" == lines[5]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb = = 2\nc = 3\n", 2), ("a = 1\nb = 'x\n", 2), ('a = 1\nb = """x\n\n', 2), ("[a]\nb = 1\n[a]\n", 3)],
)
def test_text_that_is_no_toml(write: Write, text: str, line: int) -> None:
    """The reader's own words, and its line."""
    error = refused(write(text))
    assert line == error.line
    assert error.problem.startswith("not TOML: ")


@pytest.mark.parametrize(
    ("text", "line", "path", "problem"),
    [
        (
            '[agents.main]\n[[bindings]]\nagent = "man"\n',
            3,
            "bindings.0.agent",
            "no agent is named 'man'; did you mean 'main'?",
        ),
        (
            '[providers.openai]\n[models]\nx = "opnai/x"\n',
            3,
            "models.x",
            "no provider is named 'opnai'; did you mean 'openai'?",
        ),
        (
            '[models]\ndefault = "openai/x"\n',
            2,
            "models.default",
            "no provider is named 'openai'; known: rehearsal; add a table [providers.openai]",
        ),
        (
            '[providers.p]\n[models]\nfast = "p/x"\n[agents.a]\nmodel = "fats"\n',
            5,
            "agents.a.model",
            "no model has the alias 'fats'; did you mean 'fast'?",
        ),
        (
            '[providers.p]\n[agents.a]\nmodel = "q/x"\n',
            3,
            "agents.a.model",
            "no provider is named 'q'; known: p",
        ),
    ],
)
def test_names_must_exist(write: Write, text: str, line: int, path: str, problem: str) -> None:
    """Agents, providers and aliases, with the nearest one that exists."""
    error = refused(write(text))
    assert (line, path, problem) == (error.line, error.path, error.problem)


def test_faults_of_a_profile_have_the_line_of_the_profile(write: Write) -> None:
    """The line is where the value was written that won."""
    text = '[agents.a]\nmodel = "default"\n[profiles.development.agents.a]\nmodel = "none"\n'
    assert 4 == refused(write(text)).line


# -- where files are kept


def test_data_directory(write: Write, tmp_path: Path) -> None:
    """The variable, the file (from its own directory), XDG, home: in this order."""
    path = write('data_dir = "here"\n')
    assert tmp_path / "there" == config.load(path, environ={"FAIRLEAD_DATA": str(tmp_path / "there")}).data_dir
    assert tmp_path / "here" == config.load(path, environ={}).data_dir
    assert tmp_path / "fairlead" == config.load(write(""), environ={"XDG_DATA_HOME": str(tmp_path)}).data_dir
    assert Path.home() / ".local/share/fairlead" == config.default(environ={"XDG_DATA_HOME": "not/absolute"}).data_dir


# -- the default


@pytest.mark.parametrize(
    ("environ", "chain"),
    [
        ({}, ["rehearsal"]),
        ({"ANTHROPIC_API_KEY": KEY}, ["anthropic"]),
        ({"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}, ["anthropic"]),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, ["openai"]),
        ({"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY}, ["anthropic", "openai"]),
        ({"OPENAI_API_KEY": ""}, ["rehearsal"]),
    ],
)
def test_default_takes_the_vendors_whose_variables_are_set(environ: dict[str, str], chain: list[str]) -> None:
    """They answer instead of the rehearsal, and their keys are not shown."""
    found = config.default(environ=environ)
    assert chain == [ref.provider for ref in found.models["default"]]
    assert [*chain, "rehearsal"][: len(names(found, "providers"))] == names(found, "providers")
    assert all(plugin.optional for plugin in found.plugins)
    assert KEY not in repr(found)


@pytest.mark.parametrize("vendor", ["anthropic", "openai"])
def test_default_sends_keys_to_the_server_of_the_variables(vendor: str) -> None:
    """A key for a server of one's own is not sent to the vendor."""
    url = "http://127.0.0.1:1/v1"
    found = config.default(environ={f"{vendor.upper()}_API_KEY": KEY, f"{vendor.upper()}_BASE_URL": url})
    (options,) = [plugin.options for plugin in found.plugins if plugin.name == vendor]
    assert (KEY, url) == (options["api_key"].reveal(), options["base_url"])


def test_variable_that_is_not_set_is_the_next_command(write: Write) -> None:
    """Where that alone is wrong; with other faults it is the doctor."""
    missing = '[channels.webhook]\nsecret = { env = "NONE" }\n'
    for text, expected in ((missing, "export NONE=..."), (missing + "[models]\ndefault = 'no/x'\n", "fairlead doctor")):
        with pytest.raises(ConfigError) as caught:
            config.load(write(text), environ={})
        assert expected == caught.value.next_step


def test_chosen_model_has_no_fallback() -> None:
    """``FAIRLEAD_MODEL`` is a decision."""
    found = config.default(environ={"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "FAIRLEAD_MODEL": "openai/a/b"})
    assert (config.ModelRef("openai", "a/b"),) == found.models["default"]


@pytest.mark.parametrize("model", ["openai/x", "claude", "/x", "rehearsal/"])
def test_chosen_model_needs_its_provider(model: str) -> None:
    """A vendor without a key, or a text that is no model."""
    with pytest.raises(ConfigError, match="expected provider/model"):
        config.default(environ={"FAIRLEAD_MODEL": model})


def test_who_may_talk_is_asked_also_where_a_file_has_rules_of_its_own(write: Write) -> None:
    """A table [policies.rules] is no word about strangers; only the policy's own table switches it off."""
    rules = TEN_LINES + "\n[policies.rules]\nrules = []\n"
    assert ["rules", "contacts"] == names(config.load(write(rules), environ={"MY_KEY": KEY}), "policies")
    contacts = TEN_LINES + '\n[policies.contacts]\nmode = "allow"\n'
    assert ["contacts", "rules"] == names(config.load(write(contacts), environ={"MY_KEY": KEY}), "policies")
    budgets = TEN_LINES + "\n[policies.budgets.limits.monthly]\ndollars = 20\n"
    assert ["budgets", "rules", "contacts"] == names(config.load(write(budgets), environ={"MY_KEY": KEY}), "policies")
    off = rules + "\n[policies.contacts]\nenabled = false\n"
    assert ["rules"] == names(config.load(write(off), environ={"MY_KEY": KEY}), "policies")
