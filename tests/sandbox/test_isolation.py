"""Where tools run: never in the host, in a container of the session's own, with proof of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from fairlead import ToolResult
from fairlead.config import PluginConfig

from .engine import containers_of, inspected, within
from .hosted import Hosted, configure, hosted, told
from .installed import install

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker")]
NAME = "acme-desk"
SOURCE = """
import os
from pathlib import Path

from fairlead import Tool, ToolSpec
from fairlead.hookspecs import hookimpl

{trap}


class Desk(Tool):
    def specs(self):
        return [ToolSpec("run", "Runs Python.", {{"type": "object"}}, effect="read", timeout=20.0)]

    async def call(self, call, context):
        scope = {{"os": os}}
        exec(call.arguments["code"], scope)
        return str(scope.get("found", "done"))


@hookimpl
def fairlead_tools(settings):
    return [Desk()]
"""
TRAP = """
import sys
if not os.path.isdir("/plugin"):
    Path({place!r}).write_text("the host imported it")
    sys.exit("the host imported it")
"""


@pytest.fixture(scope="module")
def table(packages: Path) -> PluginConfig:
    """A plugin whose module ends a host that imports it."""
    source = SOURCE.format(trap=TRAP.format(place=str(packages / "imported")))
    manifest = '{"api": "1.0", "mounts": ["workspace"]}'
    files = {"acme_desk/__init__.py": source, "acme_desk/fairlead-plugin.json": manifest}
    install(packages, NAME, {"tools": "acme_desk"}, files)
    return PluginConfig("tools", NAME)


@pytest.fixture(scope="module")
def host(table: PluginConfig, data: Path) -> Iterator[Hosted]:
    """An app that the tests share which need no other one."""
    with hosted(configure(data, table)) as made:
        yield made


def run(host: Hosted, session: str, code: str) -> ToolResult:
    result = host.call(session, "run", code=code)
    assert "" == result.error, result
    return result


def test_module_that_is_a_trap_is_imported_in_the_sandbox_only(
    table: PluginConfig, packages: Path, tmp_path: Path
) -> None:
    """It is described there, once: the next app knows its tools without any container."""
    data = tmp_path / "data"
    with hosted(configure(data, table)) as host:
        assert ["run"] == [spec.name for spec in host.app.tools]
        assert "done" == told(run(host, "s", "pass"))
    assert not (packages / "imported").exists()
    kept = list((data / "cache" / "described").iterdir())
    assert 1 == len(kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nonexistent")
        with hosted(configure(data, table)) as host:
            assert ["run"] == [spec.name for spec in host.app.tools]
            assert "isolation" == host.call("s", "run", code="pass").error


def test_description_of_changed_code_is_asked_for_again(table: PluginConfig, packages: Path, tmp_path: Path) -> None:
    """What it offers is known by the digest of all its code."""
    module = packages / "acme_desk" / "__init__.py"
    module.write_text(module.read_text().replace('ToolSpec("run"', 'ToolSpec("walk"'))
    with hosted(configure(tmp_path / "data", table)) as host:
        assert ["walk"] == [spec.name for spec in host.app.tools]
    module.write_text(module.read_text().replace('ToolSpec("walk"', 'ToolSpec("run"'))
    with hosted(configure(tmp_path / "data", table)) as host:
        assert ["run"] == [spec.name for spec in host.app.tools]


def test_evidence_is_what_the_engine_says(host: Hosted) -> None:
    """Each fact beside a result stands in the engine's own answer about that container."""
    evidence = run(host, "s", "found = os.getuid()").evidence
    engine = inspected(evidence["container"])
    settings = engine["HostConfig"]
    expected = {
        "container": engine["Id"],
        "image": engine["Image"],
        "runtime": settings["Runtime"],
        "network": settings["NetworkMode"],
        "memory_bytes": settings["Memory"],
        "cpus": settings["NanoCpus"] / 10**9,
        "pids": settings["PidsLimit"],
    }
    assert expected == {key: evidence[key] for key in expected}
    assert "container" == evidence["level"]
    assert evidence["user"] == run(host, "s", "found = os.getuid()").text
    assert (True, "none", False) == (settings["ReadonlyRootfs"], settings["IpcMode"], settings["Privileged"])
    sources = [mount["Source"] for mount in engine["Mounts"] if mount["RW"]]
    assert all(source.startswith(str(host.app.config.data_dir / "workspaces")) for source in sources)


def test_identity_names_the_image_and_all_code(
    host: Hosted, table: PluginConfig, packages: Path, tmp_path: Path
) -> None:
    """What an approval is bound to: it is another one for changed code, and the same one for the same."""
    worker = host.app.worker_of("run")
    assert worker is not None
    identity = host.run(worker.identity)
    assert run(host, "s", "pass").evidence["image"] in identity
    module = packages / "acme_desk" / "__init__.py"
    before = module.read_text()
    found = []
    for text in (before, before + "\n# changed\n"):
        module.write_text(text)
        with hosted(configure(tmp_path / "data", table)) as other:
            again = other.app.worker_of("run")
            assert again is not None
            found.append(other.run(again.identity))
    module.write_text(before)
    assert identity == found[0] != found[1]


def test_worker_gives_evidence_without_a_call(host: Hosted) -> None:
    """For `fairlead sandbox explain`: from a sandbox that is made for this question, and is gone afterwards."""
    worker = host.app.worker_of("run")
    assert worker is not None
    evidence = host.run(worker.evidence)
    assert "container" == evidence["level"]
    assert within(5.0, lambda: evidence["container"] not in [each.id for each in containers_of(os.getpid())])


def test_sessions_share_neither_container_nor_files(host: Hosted) -> None:
    """Also when they are used in turns; each has its own again."""
    write = "open('/work/mine', 'a').write({!r}); found = open('/work/mine').read()"
    first = run(host, "ann", write.format("a"))
    second = run(host, "bob", write.format("b"))
    again = run(host, "ann", write.format("a"))
    assert ("a", "b", "aa") == (first.text, second.text, again.text)
    assert first.evidence["container"] == again.evidence["container"] != second.evidence["container"]
    assert first.evidence["user"] != second.evidence["user"]


def test_files_of_a_session_outlive_the_app_until_they_are_erased(table: PluginConfig, data: Path) -> None:
    """Another app on the same data goes on with them; erasing the session removes them for good."""
    config = configure(data, table)
    look = "found = os.listdir('/work')"
    with hosted(config) as host:
        run(host, "old-ann", "open('/work/mine', 'w').write('x')")
        run(host, "old-bob", "open('/work/his', 'w').write('x')")
    with hosted(config) as host:
        assert "['mine']" == run(host, "old-ann", look).text
        host.run(lambda: host.app.sessions.erase("old-ann"))
        assert "[]" == run(host, "old-ann", look).text
        assert "['his']" == run(host, "old-bob", look).text


def places(data: Path) -> list[Path]:
    """The files of sessions, and what is known of whose they are."""
    return [*data.glob("workspaces/*[0-9a-f]"), *data.glob("workspaces/index/*")]


def test_erasing_before_any_call_removes_the_files_too(table: PluginConfig, data: Path) -> None:
    """No tool has been called in this app, and no container was there."""
    config, before = configure(data, table), set(places(data))
    with hosted(config) as host:
        run(host, "early", "open('/work/mine', 'w').write('x')")
    made = set(places(data)) - before
    assert 2 == len(made)
    with hosted(config) as host:
        host.run(lambda: host.app.sessions.erase("early"))
    assert set() == made & set(places(data))


def test_two_apps_on_one_engine_leave_each_other_alone(table: PluginConfig, data: Path, tmp_path: Path) -> None:
    """One is opened and closed beside the other; the other's container lives on."""
    with ExitStack() as stack:
        first = stack.enter_context(hosted(configure(data, table)))
        before = run(first, "two", "open('/work/mine', 'w').write('x')")
        with hosted(configure(tmp_path / "two", table)) as second:
            other = run(second, "two", "found = os.listdir('/work')")
            assert "[]" == other.text
            assert before.evidence["container"] != other.evidence["container"]
        after = run(first, "two", "found = os.listdir('/work')")
        assert ("['mine']", before.evidence["container"]) == (after.text, after.evidence["container"])


def test_same_data_cannot_be_used_by_two_apps_in_one_session(table: PluginConfig, data: Path) -> None:
    """The second one is told that the files are in use; nothing is mixed up, and afterwards it has them."""
    config = configure(data, table)
    with hosted(config) as first:
        run(first, "same", "open('/work/mine', 'w').write('x')")
        with hosted(config) as second:
            refused = second.call("same", "run", code="pass")
            assert "failed" == refused.error
            assert "open in another process" in refused.text
            run(second, "not the same", "pass")
    with hosted(config) as host:
        assert "['mine']" == run(host, "same", "found = os.listdir('/work')").text


def test_runtime_without_a_kernel_is_not_taken_for_one(table: PluginConfig, tmp_path: Path) -> None:
    """A floor is never weakened by the name of a runtime: nothing runs, also not to ask for its tools."""
    kernel = PluginConfig("tools", NAME, isolation="kernel")
    with hosted(configure(tmp_path / "data", kernel, runtime="runc")) as host:
        assert () == host.app.tools
        (report,) = [each for each in host.app.reports if each.plugin == f"tools/{NAME}"]
    assert report.error is not None
    assert "brings no kernel of its own" in report.error.problem


def test_limits_of_the_configuration_reach_the_container(table: PluginConfig, data: Path) -> None:
    """As the engine has them."""
    with hosted(configure(data, table, memory_mb=100, cpus=0.5, pids=50)) as host:
        evidence = run(host, "limited", "pass").evidence
    assert (100_000_000, 0.5, 50) == (evidence["memory_bytes"], evidence["cpus"], evidence["pids"])


def test_result_in_the_journal_has_its_evidence(host: Hosted) -> None:
    """What was written there is JSON, and names the container."""
    evidence = run(host, "s", "pass").evidence
    assert evidence["container"] in json.dumps(dict(evidence))
    assert {"cpu_seconds", "peak_bytes", "wall_seconds"} <= set(evidence)


def test_nothing_is_left_when_the_app_is_closed(table: PluginConfig, tmp_path: Path) -> None:
    """No container, no mount, no directory of sockets."""
    data = tmp_path / "data"
    with hosted(configure(data, table)) as host:
        for session in ("left-a", "left-b", "left-c"):
            run(host, session, "pass")
        ours = {run(host, session, "pass").evidence["container"] for session in ("left-a", "left-b", "left-c")}
        assert ours <= {each.id for each in containers_of(os.getpid())}
    assert not ours & {each.id for each in containers_of(os.getpid())}
    assert str(data) not in Path("/proc/self/mountinfo").read_text()


def test_calls_at_the_same_time_share_the_files_of_their_session(
    table: PluginConfig, packages: Path, tmp_path: Path
) -> None:
    """Tools of two plugins, in sandboxes that were warm and had files of their own: the session has one workspace."""
    source = SOURCE.format(trap="").replace('ToolSpec("run"', 'ToolSpec("walk"')
    manifest = '{"api": "1.0", "mounts": ["workspace"]}'
    files = {"acme_shelf/__init__.py": source, "acme_shelf/fairlead-plugin.json": manifest}
    install(packages, "acme-shelf", {"tools": "acme_shelf"}, files)
    with hosted(configure(tmp_path / "data", table, PluginConfig("tools", "acme-shelf"), warm=1)) as host:
        orders = [
            {"tool": tool, "arguments": {"code": f"open('/work/{tool}', 'w').write('x')"}} for tool in ("run", "walk")
        ]
        for session in ("a", "b"):
            results = host.run(partial(host.ask_async, session, orders))
            assert ["", ""] == [result.error for result in results], results
            look = "found = sorted(os.listdir('/work'))"
            assert "['run', 'walk']" == run(host, session, look).text
            assert "['run', 'walk']" == host.call(session, "walk", code=look).text
