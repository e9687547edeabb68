"""The command's shape: help, versions, errors; nothing of the engine runs."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from fairlead import wire
from fairlead.errors import ConfigError, JournalUnavailable, SessionNotFound
from fairlead_cli import _failures
from fairlead_cli.command import COMMANDS, cli, main

HEAVY = ("rich", "trio", "attrs", "fairlead", "jsonschema", "pluggy")


def commands() -> list[tuple[str, click.Command]]:
    """Every command that does something, with the words that call it."""
    found: list[tuple[str, click.Command]] = []
    for name, (module, _) in COMMANDS.items():
        command = importlib.import_module(f"fairlead_cli.{module}").command
        if isinstance(command, click.Group):
            found += [(f"{name} {inner}", each) for inner, each in command.commands.items()]
        else:
            found.append((name, command))
    return found


def call(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run the command in this process: code, output, errors."""
    with pytest.raises(SystemExit) as done:
        main(arguments)
    out, err = capsys.readouterr()
    return int(done.value.code or 0), out, err


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIRLEAD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("FAIRLEAD_CONFIG", "FAIRLEAD_PROFILE", "FAIRLEAD_MODEL", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_imports_click_and_nothing_else(argument: str) -> None:
    """No plugin, no core, no third party but click: it is quick, and works where everything else is broken."""
    code = (
        "import sys\nfrom fairlead_cli.command import main\n"
        f"try:\n    main([{argument!r}])\nexcept SystemExit as done:\n    assert not done.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.splitlines()[-1]


def test_help_lists_every_command_with_its_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    """The table that spares the imports says what the commands say themselves."""
    code, out, _ = call("--help", capsys=capsys)
    assert 0 == code
    for name, (module, text) in COMMANDS.items():
        assert text in out
        command = importlib.import_module(f"fairlead_cli.{module}").command
        assert (name, text) == (command.name, COMMANDS[name][1])


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_has_a_text_an_example_and_json(name: str, command: click.Command) -> None:
    """An example that calls this very command, and every option with its own help."""
    assert command.help
    assert f"fairlead {name}" in (command.epilog or "")
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert "as_json" in [option.name for option in options]
    assert [] == [option.name for option in options if not option.help]


@pytest.mark.parametrize("arguments", [("unknown",), ("chat", "--unknown"), ("sessions", "rollback", "x")])
def test_wrong_usage_exits_with_2_and_the_next_command(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """What was wrong, and what to type."""
    code, out, err = call(*arguments, capsys=capsys)
    assert (2, "") == (code, out)
    assert "Error:" in err
    assert "next: fairlead" in err
    assert "--help" in err.splitlines()[-1]


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """A person who types `fairlead` sees what there is."""
    code, out, err = call(capsys=capsys)
    assert 2 == code
    assert "Commands:" in out + err


def test_schema_lists_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """The same names and documents as the core publishes."""
    assert (0, "\n".join(wire.schema_names()) + "\n", "") == call("schema", capsys=capsys)
    _, out, _ = call("schema", "config", capsys=capsys)
    assert wire.load_schema("config") == json.loads(out)
    _, out, _ = call("schema", "--json", capsys=capsys)
    assert list(wire.schema_names()) == json.loads(out)


def test_unknown_schema_names_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a fault of usage."""
    code, out, err = call("schema", "nothing", capsys=capsys)
    assert (2, "") == (code, out)
    assert "no schema is named 'nothing'" in err
    assert "config" in err


def test_error_in_json_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A script reads one document in every case; people read the words beside it."""
    code, out, err = call("schema", "nothing", "--json", capsys=capsys)
    assert 2 == code
    assert {"type": "error", "error": "SchemaError"}.items() <= json.loads(out).items()
    assert "next: fairlead schema" in err


def test_plugins_are_listed_from_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its kind, name and where it comes from; the terminal is one of them, and not enabled."""
    code, out, _ = call("plugins", "list", "--json", capsys=capsys)
    assert 0 == code
    listed = {(plugin["kind"], plugin["name"]): plugin for plugin in json.loads(out)}
    terminal = listed["channels", "terminal"]
    expected = {"distribution": "fairlead-cli", "api": "1.0", "isolation": "host", "stage": "stable", "enabled": False}
    assert expected.items() <= terminal.items()
    assert listed["memories", "sqlite"]["enabled"]


def test_plugins_list_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a plugin, never folded in a pipe."""
    _, out, _ = call("plugins", "list", capsys=capsys)
    heading, *rows = out.splitlines()
    assert ["KIND", "NAME", "DISTRIBUTION"] == heading.split()[:3]
    assert ["channels", "terminal", "fairlead-cli"] in [row.split()[:3] for row in rows]


def test_plugin_is_shown_with_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """What it takes, and how it is enabled."""
    _, out, _ = call("plugins", "show", "terminal", capsys=capsys)
    assert "conversation (string, default" in out
    assert "[channels.terminal]" in out


def test_unknown_plugin_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """A slip of the finger is mended at once."""
    code, _, err = call("plugins", "show", "terminl", capsys=capsys)
    assert 2 == code
    assert "did you mean 'terminal'?" in err


def test_init_writes_a_file_that_loads(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """And never replaces one that is there, unless told so."""
    code, out, _ = call("init", "--defaults", capsys=capsys)
    assert (0, True) == (code, "fairlead.toml is written and valid." in out)
    before = (tmp_path / "fairlead.toml").read_text("utf-8")
    code, _, err = call("init", "--defaults", "--provider", "openai", capsys=capsys)
    assert (2, True) == (code, "is there already" in err)
    assert before == (tmp_path / "fairlead.toml").read_text("utf-8")
    code, _, _ = call("init", "--defaults", "--provider", "openai", "--force", capsys=capsys)
    assert 0 == code
    assert 'api_key = { env = "OPENAI_API_KEY" }' in (tmp_path / "fairlead.toml").read_text("utf-8")
    assert ["fairlead.toml"] == [path.name for path in tmp_path.iterdir()]


def test_init_says_which_variables_are_missing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Keys are never asked for and never written."""
    arguments = ("--provider", "openai", "--model", 'gpt "5"', "--key-env", "MY_KEY", "--channel", "webhook")
    code, out, _ = call("init", "--defaults", *arguments, "--json", capsys=capsys)
    assert 0 == code
    assert {
        "variables": ["MY_KEY", "FAIRLEAD_WEBHOOK_SECRET"],
        "unset": ["MY_KEY", "FAIRLEAD_WEBHOOK_SECRET"],
    }.items() <= json.loads(out).items()
    text = (tmp_path / "fairlead.toml").read_text("utf-8")
    assert 'default = "openai/gpt \\"5\\""' in text
    assert 'secret = { env = "FAIRLEAD_WEBHOOK_SECRET" }' in text


def test_init_refuses_what_is_not_installed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Nothing is written."""
    code, _, err = call("init", "--defaults", "--provider", "nobody", capsys=capsys)
    assert 2 == code
    assert "there are: anthropic, openai, rehearsal" in err
    assert [] == list(tmp_path.iterdir())


def test_init_neither_shows_nor_writes_what_looks_like_a_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Whoever pastes the key where its variable's name belongs has not published it."""
    code, out, err = call("init", "--defaults", "--provider", "openai", "--key-env", "sk-12-34", capsys=capsys)
    assert (2, "") == (code, out)
    assert "the name of an environment variable" in err
    assert "sk-12-34" not in err
    assert [] == list(tmp_path.iterdir())


def test_init_asks_again(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A slip of the finger costs one question, not all of them."""
    answers = "opnai\nopenai\n\nsk-12-34\nMY_KEY\nsms\nwebhook\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(answers))
    code, _, err = call("init", capsys=capsys)
    assert 0 == code
    assert "no provider named 'opnai' is installed; there are: anthropic, openai, rehearsal" in err
    assert "no channel named 'sms' is installed" in err
    text = (tmp_path / "fairlead.toml").read_text("utf-8")
    assert 'api_key = { env = "MY_KEY" }' in text
    assert "[channels.webhook]" in text


def test_commands_name_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """A command, a plugin with its kind, a session by the end of its name."""
    assert "did you mean 'chat'?" in call("chatt", capsys=capsys)[2]
    assert "did you mean 'tools/clock'?" in call("plugins", "show", "tools/clok", capsys=capsys)[2]
    call("chat", "--session", "desk", "repeat hello", capsys=capsys)
    for command in ("show", "erase", "export"):
        arguments = ("sessions", command, "desk", *(["--yes"] if command == "erase" else []))
        code, _, err = call(*arguments, capsys=capsys)
        assert (2, True) == (code, "did you mean 'main/terminal//desk'?" in err)


def test_model_of_a_provider_that_is_off_says_how_to_enable_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Installed is not enabled: the next command writes the file that enables it."""
    code, _, err = call("chat", "--model", "openai/big", "hello", capsys=capsys)
    assert 2 == code
    assert "next: fairlead init --provider openai --model big" in err


def test_arguments_that_are_no_json_are_shown_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """What was found, what was expected, and what to type."""
    for arguments in ("{expr}", "[1]"):
        code, _, err = call("policy", "explain", "calculate", arguments, capsys=capsys)
        assert (2, True) == (code, f"the arguments are {arguments!r}, expected a JSON object" in err)
        assert "next: fairlead policy explain calculate '{" in err


def test_channel_that_cannot_serve_says_what_mends_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The channel knows better than the doctor."""
    (tmp_path / "fairlead.toml").write_text('[channels.webhook]\nsecret = { env = "HOOK_SECRET" }\n', "utf-8")
    code, _, err = call("run", capsys=capsys)
    assert (2, True) == (code, err.endswith("  next: export HOOK_SECRET=...\n"))
    monkeypatch.setenv("HOOK_SECRET", "short")
    code, _, err = call("run", capsys=capsys)
    assert 2 == code
    assert "no channel can serve: channels/webhook: channels.webhook.secret" in err
    assert err.endswith("  next: make one with: openssl rand -hex 32\n")


def test_sessions_of_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """No claim that there is no session at all."""
    _, _, err = call("sessions", "list", "--owner", "ann", capsys=capsys)
    assert "ann began no session" in err
    _, _, err = call("sessions", "list", capsys=capsys)
    assert "There is no session yet" in err


def test_faulty_configuration_is_told_with_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """By every command that reads it; the doctor makes a finding of it."""
    (tmp_path / "fairlead.toml").write_text("[limits]\nstep = 3\n", "utf-8")
    code, out, err = call("chat", "hello", capsys=capsys)
    assert (2, "") == (code, out)
    assert "fairlead.toml:2: limits.step" in err
    code, out, _ = call("doctor", "--json", capsys=capsys)
    assert 1 == code
    assert not json.loads(out)["ok"]


def test_errors_have_their_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """2 where the person can mend it, 1 where not; every error of a group is told."""
    codes = [
        _failures.report(error, ["run"], debug=False, as_json=False)
        for error in (
            ConfigError("bad key"),
            SessionNotFound("no session"),
            JournalUnavailable("disk full"),
            ExceptionGroup("two", [ConfigError("first fault"), ConfigError("second fault")]),
            ExceptionGroup("two", [ConfigError("first fault"), RuntimeError("broken")]),
        )
    ]
    assert [2, 2, 1, 2, 1] == codes
    err = capsys.readouterr().err
    assert "first fault" in err
    assert "second fault" in err


def test_unexpected_error_is_short_and_tells_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    """The traceback is for those who ask for it."""
    try:
        raise ZeroDivisionError("division by zero")  # noqa: TRY301  # an error with a traceback is what is tested
    except ZeroDivisionError as error:
        _failures.report(error, ["chat", "two words"], debug=False, as_json=False)
        short = capsys.readouterr().err
        _failures.report(error, ["chat"], debug=True, as_json=False)
        long = capsys.readouterr().err
    assert "Error: ZeroDivisionError: division by zero\n  next: fairlead --debug chat 'two words'\n" == short
    assert "Traceback (most recent call last)" in long


def test_the_group_is_callable_by_name() -> None:
    """Every name in the table leads to a command."""
    context = click.Context(cli)
    assert list(COMMANDS) == cli.list_commands(context)
    assert all(cli.get_command(context, name) for name in COMMANDS)
    assert cli.get_command(context, "nothing") is None


def test_interrupt_while_an_app_closes_is_one_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nurseries make a group of it, with what broke on its way: no traceback, and the same exit code."""

    def closing() -> None:
        raise BaseExceptionGroup("closing", [KeyboardInterrupt(), BaseExceptionGroup("pipes", [OSError("gone")])])

    module = ModuleType("fairlead_cli._closing")
    module.__dict__["command"] = click.Command("closing", callback=closing)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(COMMANDS, "closing", ("_closing", "Closes."))
    assert (130, "", "\n") == call("closing", capsys=capsys)
