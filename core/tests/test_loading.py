"""From a configuration to workers, with plugins that are really installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fairlead import Secret, ToolSpec, config, hookspecs
from fairlead._discovery import normal
from fairlead._isolation import Assignment
from fairlead._loading import Loaded, load
from fairlead.config import Config, PluginConfig
from fairlead.errors import (
    ConfigError,
    FairleadError,
    IsolationUnavailable,
    PluginConflict,
    PluginLoadError,
    PluginNotFound,
    PluginVersionError,
)

KEY = "sk-a-value-that-nobody-may-see"
TOOL = """
from fairlead import Tool
from fairlead.hookspecs import hookimpl

class Echo(Tool):
    def __init__(self, settings=None):
        self.settings = settings
    def specs(self):
        return []
    async def call(self, call, context):
        return ""
"""
ECHO = TOOL + "@hookimpl\ndef fairlead_tools(settings):\n    return [Echo(settings)]\n"


def add(site: Any, name: str, code: str, kind: str = "tools", manifest: Mapping[str, Any] | None = None) -> None:
    """Install the distribution ``acme-NAME`` with the plugin NAME."""
    files = {f"acme_{name}/__init__.py": "", f"acme_{name}/plugin.py": code}
    site.install(f"acme-{name}", {f"fairlead.{kind}": {name: f"acme_{name}.plugin"}}, files, manifest=manifest)


def table(name: str, kind: Any = "tools", **more: Any) -> PluginConfig:
    return PluginConfig(kind, name, **{"isolation": "host", **more})


def run(*tables: PluginConfig, **more: Any) -> Loaded:
    return load(Config(plugins=tables, **more))


def promised(assignment: Assignment) -> Sequence[ToolSpec]:
    """The tools that its manifest lists."""
    manifest = assignment.plugin.manifest
    return manifest.tools if manifest is not None else ()


def tools_of(loaded: Loaded) -> list[Any]:
    """The tool workers."""
    return [worker for _, worker in loaded.workers["tools"]]


def fault(*tables: PluginConfig) -> FairleadError:
    """The error of the first table; its report says failed, and no worker came of it."""
    loaded = run(*tables)
    report = loaded.reports[0]
    assert ("failed", ()) == (report.status, report.workers)
    assert report.error is not None
    return report.error


# -- order, names, places


def test_workers_come_in_the_order_of_the_configuration(site: Any) -> None:
    """Not in the order of the directory; each is named after its table and gets its own settings."""
    for name in ("abc", "mno", "xyz"):
        add(site, name, ECHO)
    loaded = run(
        table("xyz"),
        table("abc", options={"a": 1}),
        table("second", plugin="abc", options={"a": 2}),
        data_dir=Path("d"),
    )
    workers = tools_of(loaded)
    assert ["xyz", "abc", "second"] == [worker.name for worker in workers]
    assert [{}, {"a": 1}, {"a": 2}] == [worker.settings.options for worker in workers]
    assert [("xyz", Path("d"), "development")] == [
        (worker.settings.name, worker.settings.data_dir, worker.settings.profile) for worker in workers[:1]
    ]
    assert ["tools/xyz", "tools/abc", "tools/second"] == [report.plugin for report in loaded.reports]
    assert [("ready", "acme-xyz 1.0", ("xyz",))] == [
        (report.status, report.distribution, report.workers) for report in loaded.reports[:1]
    ]
    assert "acme_mno" not in sys.modules


def test_several_workers_of_one_table_are_numbered(site: Any) -> None:
    """The first has the table's name."""
    add(site, "many", TOOL + "@hookimpl\ndef fairlead_tools():\n    return [Echo(), Echo()]\n")
    assert ("many", "many-2") == run(table("many")).reports[0].workers


def test_two_loads_share_nothing(site: Any) -> None:
    """Each app has its own manager and its own workers."""
    add(site, "echo", ECHO)
    first, second = (run(table("echo")).workers["tools"][0][1] for _ in range(2))
    assert first is not second


def test_one_plugin_serves_two_groups(site: Any) -> None:
    """Its module is registered once, and each table calls the hook of its kind."""
    code = ECHO + (
        "from fairlead import Policy\n"
        "class Yes(Policy):\n    boundaries = frozenset()\n    async def review(self, review):\n        return []\n"
        "@hookimpl\ndef fairlead_policies(settings):\n    return (Yes(),)\n"
    )
    files = {"acme_both.py": code}
    site.install("acme-both", {f"fairlead.{kind}": {"both": "acme_both"} for kind in ("tools", "policies")}, files)
    loaded = run(table("both"), table("both", "policies"))
    assert [1, 1] == [len(loaded.workers["tools"]), len(loaded.workers["policies"])]


def test_observers_come_from_any_kind(site: Any) -> None:
    """A plugin may have them beside its workers, or nothing else."""
    code = (
        "from fairlead import Observer\nfrom fairlead.hookspecs import hookimpl\n"
        "class Watch(Observer):\n    async def observe(self, record):\n        pass\n"
        "@hookimpl\ndef fairlead_observers(settings):\n    return [Watch()]\n"
    )
    add(site, "watch", code)
    add(site, "echo", ECHO)
    loaded = run(table("watch"), table("echo"))
    assert [("tools/watch", ("watch",)), ("tools/echo", ("echo",))] == [
        (report.plugin, report.workers) for report in loaded.reports
    ]
    assert [("watch", "watch")] == [(owner.name, worker.name) for owner, worker in loaded.observers]
    assert ["echo"] == [worker.name for worker in tools_of(loaded)]


def test_default_configuration_loads(tmp_path: Path) -> None:
    """Our own plugins run in the host, and the default rules name exactly the tools of the default."""
    loaded = load(config.default(environ={"FAIRLEAD_DATA": str(tmp_path)}))
    assert [] == [report for report in loaded.reports if report.status != "ready"]
    tools = [
        spec.name
        for each in tools_of(loaded)
        for spec in (promised(each) if isinstance(each, Assignment) else each.specs())
    ]
    rules, contacts = (owner for owner, _ in loaded.workers["policies"])
    assert "contacts" == contacts.name
    assert sorted(tools) == sorted(rules.options["rules"][0]["resources"])


def test_stevedore_reads_and_writes_no_cache(site: Any, tmp_path: Path) -> None:
    """What is imported is decided by what is installed now, not by a file in the home directory."""
    add(site, "echo", ECHO)
    code = (
        "from fairlead._loading import load\nfrom fairlead.config import Config, PluginConfig\n"
        "print(load(Config(plugins=(PluginConfig('tools', 'echo', isolation='host'),))).reports[0].status)\n"
    )
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(site.directory)}
    done = subprocess.run([sys.executable, "-c", code], check=True, env=environ, capture_output=True, text=True)
    assert ("ready\n", False) == (done.stdout, (tmp_path / "cache").exists())


# -- plugins that cannot be found or chosen


def test_optional_plugin_that_is_not_installed_is_skipped() -> None:
    """It belongs to the default configuration, so nobody asked for it."""
    report = run(table("acme-none", optional=True)).reports[0]
    assert ("skipped", None) == (report.status, report.error)


def test_nearest_name_is_told(site: Any) -> None:
    """Of the same kind."""
    add(site, "calender", ECHO)
    error = fault(table("calendar"))
    assert isinstance(error, PluginNotFound)
    assert "tools/calendar: no plugin 'calendar' is installed; did you mean 'calender'?" == error.problem
    assert ("fairlead plugins list", "tools/calendar") == (error.next_step, error.plugin)


def test_name_of_another_kind_is_told(site: Any) -> None:
    """The table is under the wrong heading."""
    add(site, "echo", ECHO)
    error = fault(table("echo", "channels"))
    assert ("channels/echo: 'echo' is installed among the tools", "write [tools.echo]") == (
        error.problem,
        error.next_step,
    )


def test_only_our_own_plugins_are_recommended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guessed name could be a stranger's package."""
    monkeypatch.setattr("importlib.metadata.distributions", lambda: iter(()))
    assert "pip install fairlead-cli" == fault(table("terminal", "channels")).next_step
    assert "fairlead plugins list" == fault(table("carrier-pigeon", "channels")).next_step


def test_two_distributions_of_one_name_are_refused(site: Any) -> None:
    """Neither is imported; the report names both."""
    add(site, "echo", "raise SystemExit")
    site.install("acme-other", {"fairlead.tools": {"echo": "acme_echo.plugin"}}, {}, version="2.0")
    loaded = run(table("mine", plugin="echo"))
    error = loaded.reports[0].error
    assert isinstance(error, PluginConflict)
    assert ("acme-echo 1.0 and acme-other 2.0", "tools/mine") == (loaded.reports[0].distribution, error.plugin)
    assert "acme_echo" not in sys.modules


def test_other_version_of_the_api_is_refused_before_the_import(site: Any) -> None:
    """Both versions are named."""
    add(site, "late", "raise SystemExit", manifest={"api": "2.0"})
    error = fault(table("late"))
    assert isinstance(error, PluginVersionError)
    assert (
        f"acme-late 1.0 needs version 2.0 of the plugin API; this core offers {hookspecs.API_VERSION}" == error.problem
    )
    assert "acme_late" not in sys.modules


# -- isolation


def assigned(*tables: PluginConfig) -> Assignment:
    """What stands for the workers of the first table, whose plugin was not imported."""
    loaded = run(*tables)
    ((_, made),) = loaded.workers[tables[0].kind]
    assert isinstance(made, Assignment)
    assert loaded.reports[0].error is None
    return made


@pytest.mark.parametrize(
    ("kind", "wanted", "manifest", "level"),
    [
        ("tools", None, None, "container"),
        ("tools", None, "process", "container"),
        ("channels", None, None, "process"),
        ("channels", None, "kernel", "kernel"),
        ("channels", None, "host", "process"),
        ("tools", "process", "kernel", "process"),
    ],
)
def test_stranger_is_not_run_in_the_host(
    site: Any, kind: Any, wanted: str | None, manifest: str | None, level: str
) -> None:
    """Whatever its manifest says: only the configuration can trust it. It is left to the isolator, not imported."""
    described = {"api": "1.0", "isolation": manifest} if manifest else None
    add(site, "stranger", "raise SystemExit", kind, described)
    found = assigned(table("stranger", kind, isolation=wanted))
    assert (level, "stranger", "acme-stranger") == (found.level, found.table.name, found.plugin.distribution)
    assert "acme_stranger" not in sys.modules


def test_plugin_for_asyncio_is_not_run_in_the_host(site: Any) -> None:
    """Trust does not help: its code could not run there."""
    add(site, "stranger", "raise SystemExit", "channels", {"api": "1.0", "runtime": "asyncio"})
    error = fault(table("stranger", "channels"))
    assert isinstance(error, IsolationUnavailable)
    assert ("process", 'take isolation = "host" out of [channels.stranger]') == (error.floor, error.next_step)
    assert "is written for asyncio" in error.problem
    assert "process" == assigned(table("stranger", "channels", isolation=None)).level


def test_name_of_our_plugin_gives_a_stranger_no_trust(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The distribution must match as well."""
    add(site, "clock", "raise SystemExit")
    monkeypatch.setattr("sys.path", [str(site.directory)])
    assert "container" == assigned(table("clock", isolation=None)).level
    assert "fairlead-clock" == normal("Fairlead_.Clock")


def test_our_own_plugin_is_not_weakened() -> None:
    """Whoever asks for more than the host does not get less."""
    assert "container" == assigned(table("clock", isolation="container")).level


# -- options

MANIFEST: dict[str, Any] = {
    "api": "1.0",
    "settings": {
        "type": "object",
        "properties": {
            "key": {"type": "string", "minLength": 4},
            "keys": {"type": "object"},
            "region": {"enum": ["eu", "us"]},
            "port": {"type": "integer"},
        },
        "additionalProperties": False,
    },
    "secrets": ["key", "keys"],
}


def settings_of(site: Any, options: Mapping[str, Any], **more: Any) -> Any:
    add(site, "echo", ECHO, manifest=MANIFEST)
    worker: Any = run(table("echo", options=options), **more).workers["tools"][0][1]
    return worker.settings


def test_secrets_and_plain_options(site: Any) -> None:
    """The manifest says which is which, wherever the value came from."""
    options = {"key": KEY, "keys": {"a": Secret(KEY, "env A")}, "region": Secret("eu", "env REGION"), "port": 1}
    found = settings_of(site, options).options
    assert (KEY, KEY) == (found["key"].reveal(), found["keys"]["a"].reveal())
    assert ("eu", 1) == (found["region"], found["port"])
    assert KEY not in repr(found)


def test_options_are_checked_before_the_import(site: Any, tmp_path: Path) -> None:
    """File, line and key; all faults of all tables; nothing is imported."""
    add(site, "echo", "raise SystemExit", manifest=MANIFEST)
    add(site, "bare", "raise SystemExit", manifest={"api": "1.0"})
    path = tmp_path / "fairlead.toml"
    path.write_text('[tools.echo]\nisolation = "host"\nprot = 1\nport = "a"\n[tools.bare]\nisolation = "host"\nx = 1\n')
    with pytest.raises(ConfigError) as caught:
        load(config.load(path, environ={}))
    lines = str(caught.value).splitlines()
    assert f"{path}:3: tools.echo.prot: unknown key 'prot'; did you mean 'port'?" == lines[0]
    assert f"  also {path}:4: tools.echo.port: found 'a', expected type integer" == lines[1]
    assert f"  also {path}:7: tools.bare.x: unknown key 'x'" == lines[2]
    assert "acme_echo" not in sys.modules


@pytest.mark.parametrize(
    "options",
    [
        {"key": Secret("abc", "env A")},
        {"key": "abc"},
        {"key": {"abc": 1}["abc"], "keys": "abc"},
        {"port": Secret("abc", "env A")},
        {"region": Secret("abc", "env A")},
        {"keys": ["abc", Secret("abc", "env A")]},
    ],
)
def test_faults_show_no_secret(site: Any, options: Mapping[str, Any]) -> None:
    """Nor any other value that was read from outside the file."""
    add(site, "echo", ECHO, manifest=MANIFEST)
    with pytest.raises(ConfigError) as caught:
        run(table("echo", options=options))
    assert "abc" not in f"{caught.value}{caught.value!r}"


def test_plain_secret_is_refused_in_production(site: Any) -> None:
    """A reference is what is expected."""
    add(site, "echo", ECHO, manifest=MANIFEST)
    tables = table("echo", options={"key": KEY, "keys": {"a": Secret(KEY)}})
    with pytest.raises(ConfigError) as caught:
        run(tables, profile="production")
    assert "tools.echo.key" == caught.value.path
    assert "refuses a secret in plain text" in caught.value.problem
    assert "also" not in caught.value.problem
    assert KEY not in str(caught.value)


def test_without_a_manifest_options_are_taken_as_they_are(site: Any) -> None:
    """There is nothing to hold them against, and no key is known to be secret."""
    add(site, "echo", ECHO)
    worker: Any = run(table("echo", options={"any": Secret("thing")})).workers["tools"][0][1]
    assert {"any": "thing"} == worker.settings.options


def test_settings_that_are_no_schema_are_the_plugins_fault(site: Any) -> None:
    """A report, since whoever configures cannot mend it."""
    add(site, "echo", ECHO, manifest={"api": "1.0", "settings": {"type": "none"}})
    error = fault(table("echo"))
    assert isinstance(error, PluginLoadError)
    assert "not a JSON Schema" in error.problem


# -- plugins that fail


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("1 / 0", "importing it raised ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "importing it raised SystemExit: 3"),
        ("raise GeneratorExit", "importing it raised GeneratorExit"),
        ("assert False, 'no'", "importing it raised AssertionError: no"),
        ("import acme_missing", "importing it raised ModuleNotFoundError: No module named 'acme_missing'"),
        ("this is no Python", "importing it raised SyntaxError: invalid syntax"),
        (TOOL, "expected the hook fairlead_tools; found none"),
        (
            TOOL + "def fairlead_tools(settings): return []",
            "expected the hook fairlead_tools; its function fairlead_tools has no @hookimpl",
        ),
        (
            TOOL + "@hookimpl\ndef fairlead_tool(settings): return []",
            "implements the hook 'fairlead_tool', which does not exist; did you mean 'fairlead_tools'?",
        ),
        (
            TOOL + "@hookimpl\ndef fairlead_tools(config): return []",
            "Argument(s) {'config'} are declared in the hookimpl",
        ),
        (
            TOOL + "@hookimpl\ndef fairlead_tools(): return Echo()",
            "gave an object of type Echo, expected a list of Tool",
        ),
        (
            TOOL + "@hookimpl\ndef fairlead_tools(): pass",
            "gave an object of type NoneType, expected a list of Tool objects",
        ),
        (
            TOOL + "@hookimpl\nasync def fairlead_tools(): return []",
            "gave an object of type coroutine, expected a list",
        ),
        (TOOL + "@hookimpl\ndef fairlead_tools(): return [Echo]", "gave an object of type ABCMeta, expected"),
        (TOOL + "@hookimpl\ndef fairlead_tools(): return [1]", "gave an object of type int, expected a list of Tool"),
        (TOOL + "@hookimpl\ndef fairlead_tools(): raise KeyError('x')", "fairlead_tools() raised KeyError: 'x'"),
        (TOOL + "@hookimpl\ndef fairlead_tools(): raise SystemExit", "fairlead_tools() raised SystemExit"),
        (
            TOOL + "class Fixed(Echo):\n    name = property(lambda self: 'x')\n"
            "@hookimpl\ndef fairlead_tools(): return [Fixed()]",
            "setting the name of a worker raised AttributeError",
        ),
    ],
)
def test_plugin_that_fails_is_a_report(site: Any, code: str, problem: str) -> None:
    """It names distribution, version and fault; the plugins beside it work."""
    add(site, "bad", code)
    add(site, "good", ECHO)
    loaded = run(table("bad"), table("good"), table("again", plugin="bad"))
    assert ["failed", "ready", "failed"] == [report.status for report in loaded.reports]
    error = loaded.reports[0].error
    assert isinstance(error, PluginLoadError)
    assert problem in error.problem
    assert error.next_step
    assert ("tools/bad", "acme-bad 1.0") == (error.plugin, error.distribution)
    assert "tools/again" in str(loaded.reports[2].error)
    assert ["good"] == [worker.name for worker in tools_of(loaded)]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("acme_odd:Echo", "found the class Echo, expected a module or an object with hooks"),
        ("acme_odd:unhashable", "reading its hooks raised TypeError: unhashable type: 'list'"),
        ("acme_odd:none", "importing it raised AttributeError"),
        ("not a module!", "importing it raised"),
    ],
)
def test_entry_point_that_names_no_plugin(site: Any, value: str, problem: str) -> None:
    """What an entry point may name is a module or an object."""
    site.install("acme-odd", {"fairlead.tools": {"odd": value}}, {"acme_odd.py": ECHO + "unhashable = []\n"})
    add(site, "good", ECHO)
    assert problem in fault(table("odd"), table("good")).problem
    assert ["good"] == [worker.name for worker in tools_of(run(table("odd"), table("good")))]


def test_error_of_a_plugin_shows_no_secret(site: Any) -> None:
    """Not in its text, and not in the error that it came from."""
    code = TOOL + "@hookimpl\ndef fairlead_tools(settings): raise ValueError('bad ' + settings.options['key'].reveal())"
    add(site, "bad", code, manifest=MANIFEST)
    error = fault(table("bad", options={"key": Secret(KEY, "env A")}))
    assert "raised ValueError: bad (not shown)" in error.problem
    assert error.__cause__ is None


def test_interrupt_is_the_users(site: Any) -> None:
    """Ctrl-C during an import ends the program and is no fault of the plugin."""
    add(site, "slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        run(table("slow"))


def test_settings_of_an_isolated_stranger_keep_nobody_busy(site: Any) -> None:
    """A pattern of its manifest may take exponential time; what is cheap is checked, with the key that is wrong."""
    settings = {
        "type": "object",
        "properties": {"name": {"type": "string", "pattern": "^(a+)+$"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    add(site, "stranger", "raise SystemExit", "channels", {"api": "1.0", "settings": settings})
    fine = table("stranger", "channels", isolation=None, options={"name": "a" * 40 + "!"})
    assert "process" == assigned(fine).level
    with pytest.raises(ConfigError, match=r"channels\.stranger\.name: found 1, expected type string"):
        run(table("stranger", "channels", isolation=None, options={"name": 1}))
