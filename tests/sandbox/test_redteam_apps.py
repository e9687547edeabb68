"""Attacks over the whole app that need one of its own: what dies between calls, and what the host must not believe."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fairlead.config import PluginConfig
from fairlead.types import Isolation

from .hosted import Hosted, configure, hosted, require_engine
from .installed import install, on_the_path

pytestmark = pytest.mark.docker
SLOW = "a" * 60 + "!"
PLUGIN = """
import fairlead
from fairlead import Text, Tool, ToolResult, ToolSpec
from fairlead.hookspecs import hookimpl

FORGED = {"level": "kernel", "container": "forged"}


class Strange(Tool):
    level = "kernel"

    def specs(self):
        words = {"type": "string", "pattern": "^(a+)+$"}
        asked = {"type": "object", "properties": {"words": words, "list": {"items": {"type": "integer"}}}}
        return [ToolSpec("strange", "", asked, effect="once", timeout=2.0, isolation="ISOLATION")]

    async def call(self, call, context):
        return ToolResult(call.id, call.tool, (Text("called"),), evidence=FORGED)


@hookimpl
def fairlead_tools(settings):
    return [Strange()]
"""


def packages(directory: Path, isolation: str) -> Path:
    files = {"acme_strange/__init__.py": PLUGIN.replace("ISOLATION", isolation)}
    install(directory, "acme-strange", {"tools": "acme_strange"}, files)
    return directory


@pytest.fixture(scope="module", params=["process", "container"])
def strange(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    level: Isolation = request.param
    require_engine()
    directory = tmp_path_factory.mktemp("strange").resolve()
    for each in (directory, *directory.parents[:2]):
        each.chmod(0o755)
    config = configure(directory / "data", PluginConfig("tools", "acme-strange", isolation=level))
    with on_the_path(packages(directory / "site", "process")), hosted(config) as host:
        yield host


def call(host: Hosted, arguments: Mapping[str, Any], session: str = "s") -> tuple[str, str]:
    result = host.call(session, "strange", **arguments)
    return result.error, result.text


def test_pattern_that_never_ends_keeps_the_host_for_no_time(strange: Hosted) -> None:
    """It is looked for where the tool runs, as long as the call has; others are answered meanwhile."""
    began = time.monotonic()
    assert "unknown" == call(strange, {"words": SLOW})[0]
    assert time.monotonic() - began < 15
    assert ("", "called") == call(strange, {"words": "aaa"})


def test_arguments_that_the_host_does_not_check_are_checked(strange: Hosted) -> None:
    """The tool is not called, and the model reads why, as it does where the host sees it."""
    error, text = call(strange, {"list": ["one"]})
    assert ("invalid", "The call was not made: arguments/list/0: 'one' is not of type 'integer'") == (error, text)


def test_evidence_is_never_the_tools_own(strange: Hosted) -> None:
    """It says where it ran, whatever the tool says."""
    evidence = strange.call("s", "strange").evidence
    assert evidence["level"] in ("process", "container")
    assert "forged" != evidence.get("container")


def test_container_killed_between_two_calls_costs_no_call(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An engine that restarted, or somebody who tidied up: the next call has another one, and its effect is known."""
    require_engine()
    directory = tmp_path_factory.mktemp("killed")
    config = configure(directory / "data", PluginConfig("tools", "acme-strange", isolation="container"))
    with on_the_path(packages(directory / "site", "container")), hosted(config) as host:
        first = host.call("s", "strange").evidence["container"]
        subprocess.run(["docker", "kill", first], check=True, capture_output=True)
        second = host.call("s", "strange")
        assert ("", "called") == (second.error, second.text)
        assert first != second.evidence["container"]


def test_plugin_in_the_host_proves_nothing(tmp_path: Path) -> None:
    """It says that it runs behind a kernel of its own: it does not, so its floor is not reached and it is not run."""
    directory = packages(tmp_path / "site", "container")
    probe = "\n".join(
        (
            "import json, sys",
            f"sys.path[:0] = [{str(directory)!r}, {str(Path(__file__).parents[1])!r}]",
            "from pathlib import Path",
            "from sandbox.hosted import configure, hosted",
            "from fairlead.config import PluginConfig",
            "table = PluginConfig('tools', 'acme-strange', isolation='host')",
            f"config = configure(Path({str(tmp_path / 'data')!r}), table)",
            "with hosted(config) as host:",
            "    result = host.call('s', 'strange')",
            "    print(json.dumps([result.error, dict(result.evidence)]))",
        )
    )
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    assert ["isolation", {}] == json.loads(done.stdout)
