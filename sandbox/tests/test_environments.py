"""A bundle has all that a plugin needs and nothing that can change; making it imports nothing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fairlead.errors import PluginLoadError
from fairlead_sandbox.environments import Environment, bundle, collect_garbage, guest_runtime, hold
from fairlead_sandbox.environments import _tree as tree

from .packages import TRAP, entry_points, find, install, install_editable, plugin_files, run_from


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: the core and what it needs is copied once."""
    return tmp_path_factory.mktemp("cache")


def shown(environment: Environment, target: str) -> str:
    return (environment.paths[0] / target).read_text("utf-8")


def change(path: Path, text: str) -> None:
    """Edit a file so that its time is another one, as every edit by hand has."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))


def settle(*places: Path) -> None:
    """Let all files below look old: what was changed just now is not looked up the quick way."""
    for place in places:
        for root, _, names in os.walk(place):
            for name in (*names, "."):
                os.utime(Path(root, name), ns=(10**18, 10**18))


def test_plugin_of_this_environment_runs_from_its_bundle(cache: Path) -> None:
    """An editable one of ours, alone with the standard library: its hook, its metadata, the core, both loops."""
    made = bundle(importlib.metadata.distribution("fairlead-calculator"), cache)
    assert ("fairlead-calculator", "0.1.0") == (made.distribution, made.version)
    code = """
import anyio, fairlead, fairlead_sandbox.guest, importlib.metadata, json, trio
from fairlead import wire
(point,) = importlib.metadata.entry_points(group="fairlead.tools")
plugin = point.load()
core = importlib.metadata.distribution("fairlead-core")
places = {module.__file__.partition("/site/")[0] for module in (anyio, fairlead, trio, plugin)}
print(json.dumps([point.name, core.version, len(wire.schema_names()) > 5, len(core.files) > 50, len(places)]))
"""
    assert ["calculator", "0.1.0", True, True, 1] == json.loads(run_from(made, code))


def test_what_only_the_host_needs_is_not_in_it(cache: Path) -> None:
    """The engine's SDK is on the host's side of the boundary."""
    (site,) = bundle(importlib.metadata.distribution("fairlead-calculator"), cache).paths
    there = {path.name for path in site.iterdir()}
    assert {"fairlead", "fairlead_sandbox", "anyio", "trio", "attrs", "fairlead_calculator"} <= there
    assert not {"docker", "h11", "packaging", "requests", "pytest", "fairlead_cli"} & there
    assert not [name for name in there if name.endswith(".pth")]


def test_nothing_of_a_plugin_is_run(cache: Path, tmp_path: Path) -> None:
    """Neither the plugin nor what it needs is imported, here or in the process that compiles."""
    install(tmp_path, "trap-needs", {"trap_needs.py": TRAP})
    files = {**plugin_files("trap"), "trap/__init__.py": TRAP, "sitecustomize.py": TRAP, "trap.pth": "import trap\n"}
    made = bundle(install(tmp_path, "trap", files, requires=("trap-needs",)), cache)
    assert TRAP == shown(made, "trap/__init__.py")
    assert "trap" not in sys.modules
    assert not (made.paths[0] / "trap.pth").exists()


def test_same_files_give_the_same_bundle(cache: Path, tmp_path: Path) -> None:
    """Wherever and whenever they are installed, in whichever cache."""
    one, two = (bundle(install(tmp_path / each, "twin", {"twin.py": "x = 1\n"}), cache) for each in ("one", "two"))
    assert one == two
    assert one.digest == bundle(find(tmp_path / "one", "twin"), tmp_path / "cache").digest


def test_everything_is_read_only(cache: Path, tmp_path: Path) -> None:
    """Files and folders; what could be executed still can."""
    site = tmp_path / "site"
    made = install(site, "modes", {"modes/__init__.py": "", "modes/run.sh": "#!/bin/sh\n", "modes/data.bin": "\x00"})
    (site / "modes/run.sh").chmod(0o755)
    (top,) = bundle(made, cache).paths
    writable = [path for path in (top, *top.rglob("*")) if path.stat().st_mode & 0o222]
    assert [] == writable
    assert 0o555 == stat.S_IMODE((top / "modes/run.sh").stat().st_mode)
    assert 0o444 == stat.S_IMODE((top / "modes/data.bin").stat().st_mode)


@pytest.mark.parametrize("settled", [True, False], ids=["looked-up", "just-changed"])
def test_edit_of_a_source_gives_another_bundle_and_leaves_the_old(
    cache: Path,
    tmp_path: Path,
    settled: bool,  # noqa: FBT001  # a column of the table
) -> None:
    """Also in place, with the size kept, right after the last time."""
    project, site = tmp_path / "project", tmp_path / "site"
    (project / "src/edited").mkdir(parents=True)
    source = project / "src/edited/__init__.py"
    source.write_text("x = 1\n")
    install_editable(site, "edited", project, f"{project}/src\n")
    if settled:
        settle(site, project)
    old = bundle(find(site, "edited"), cache)
    assert old == bundle(find(site, "edited"), cache)
    source.write_text("x = 2\n")
    new = bundle(find(site, "edited"), cache)
    assert ("x = 1\n", "x = 2\n") == tuple(shown(each, "edited/__init__.py") for each in (old, new))
    (project / "src/edited/more.py").write_text("y = 3\n")
    assert "y = 3\n" == shown(bundle(find(site, "edited"), cache), "edited/more.py")


def test_newly_installed_distribution_is_seen(cache: Path, tmp_path: Path) -> None:
    """An upgrade of something that the plugin needs changes no file that was looked at."""
    install(tmp_path, "needed", {"needed.py": "x = 1\n"})
    install(tmp_path, "needs", {"needs.py": ""}, requires=("needed>=1",))
    assert "x = 1\n" == shown(bundle(find(tmp_path, "needs"), cache), "needed.py")
    tree.remove_tree(tmp_path / "needed-1.0.dist-info")
    install(tmp_path, "needed", {"needed.py": "x = 2\n"}, version="2.0")
    assert "x = 2\n" == shown(bundle(find(tmp_path, "needs"), cache), "needed.py")


def test_requirements_follow_markers_and_extras(cache: Path, tmp_path: Path) -> None:
    """On this machine; in a circle; an extra of the plugin counts where it is installed, but for developers' ones."""
    for name in ("here", "extra-of-need", "fast", "checker"):
        install(tmp_path, name, {f"{name.replace('-', '_')}.py": ""})
    optional = "Provides-Extra: more\nRequires-Dist: extra-of-need; extra == 'more'\n"
    optional += "Provides-Extra: less\nRequires-Dist: nowhere; extra == 'less'\n"
    install(tmp_path, "need", {"need.py": ""}, requires=("rooted",), extra=optional)
    extras = "Provides-Extra: speed\nProvides-Extra: absent\nProvides-Extra: nested\nProvides-Extra: test\n"
    requires = (
        "here; python_version >= '3'",
        "nowhere; sys_platform == 'win32'",
        "need[more]",
        "fast; extra == 'speed'",
        "not-installed; extra == 'absent'",
        "need[less]; extra == 'nested'",
        "checker; extra == 'test'",
    )
    (site,) = bundle(install(tmp_path, "rooted", {"rooted.py": ""}, requires=requires, extra=extras), cache).paths
    names = ("here", "need", "extra_of_need", "fast", "checker")
    assert [True, True, True, True, False] == [(site / f"{name}.py").exists() for name in names]


def test_missing_requirement_is_told(cache: Path, tmp_path: Path) -> None:
    """Who needs it, and what installs it."""
    made = install(tmp_path, "lonely", {"lonely.py": ""}, requires=("acme-nowhere>=2",))
    with pytest.raises(PluginLoadError) as raised:
        bundle(made, cache)
    assert "lonely 1.0 needs acme-nowhere>=2, which is not installed" == raised.value.problem
    assert "pip install 'acme-nowhere>=2'" == raised.value.next_step
    damaged = install(tmp_path, "damaged", {"damaged.py": ""}, requires=("!!",))
    with pytest.raises(PluginLoadError, match="cannot be read: '!!'"):
        bundle(damaged, cache)


def test_namespace_of_two_distributions_is_one_folder(cache: Path, tmp_path: Path) -> None:
    """Implicit namespace packages, data files and compiled extensions are where they belong."""
    install(tmp_path, "ns-b", {"ns/b/__init__.py": "", "ns/b/data/words.txt": "b\n"})
    files = {"ns/a.py": "", "ns/_fast.cpython-311-x86_64-linux-gnu.so": "ELF", "ns/__pycache__/a.cpython-311.pyc": "?"}
    (site,) = bundle(install(tmp_path, "ns-a", files, requires=("ns-b",)), cache).paths
    assert {"a.py", "b", "_fast.cpython-311-x86_64-linux-gnu.so", "__pycache__"} == {
        path.name for path in (site / "ns").iterdir()
    }
    assert "b\n" == (site / "ns/b/data/words.txt").read_text()
    assert b"?" != (site / "ns/__pycache__/a.cpython-311.pyc").read_bytes()


def test_compiled_files_are_used_without_a_look_at_the_source(cache: Path, tmp_path: Path) -> None:
    """A guest starts as if it had run before, though its directory cannot be written. Bad sources harm nobody."""
    made = bundle(install(tmp_path, "quick", {"quick.py": "x = 1\n", "old.py": "print 'two'\n"}), cache)
    assert "True" == run_from(made, "import quick; print(open(quick.__cached__, 'rb').read()[4:8] == b'\\1\\0\\0\\0')")
    assert not list(made.paths[0].glob("__pycache__/old.*"))


# -- editable installs, as each backend makes them


def mapped(site: Path, name: str, project: Path, table: dict[str, str], spaces: dict[str, list[str]]) -> None:
    finder = f"__editable___{name}_finder"
    text = f"import os\nMAPPING: dict[str, str] = {table!r}\nNAMESPACES: dict[str, list[str]] = {spaces!r}\n{TRAP}"
    install_editable(site, name, project, f"import {finder}; {finder}.install()\n", {f"{finder}.py": text})


def test_finder_of_setuptools_is_read_and_not_run(cache: Path, tmp_path: Path) -> None:
    """Packages, single modules and namespaces from its tables."""
    project, site = tmp_path / "project", tmp_path / "site"
    for name in ("one/__init__.py", "lib/two.py", "spaces/deep/three.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x = 1\n")
    table = {"one": f"{project}/one", "two": f"{project}/lib/two"}
    mapped(site, "finders", project, table, {"spaces": [f"{project}/spaces"]})
    made = bundle(find(site, "finders"), cache)
    assert "1 1 1" == run_from(made, "import one, two, spaces.deep.three as three; print(one.x, two.x, three.x)")
    assert not list(made.paths[0].glob("__editable__*"))


def test_unknown_import_hook_is_refused_in_words(cache: Path, tmp_path: Path) -> None:
    """A backend whose hook only its own code understands."""
    install_editable(tmp_path, "hooked", tmp_path, "import hooked_editable\n", {"hooked_editable.py": TRAP})
    with pytest.raises(PluginLoadError, match="by an import hook that is not setuptools' own"):
        bundle(find(tmp_path, "hooked"), cache)


def test_project_directory_on_the_path_gives_its_packages_only(cache: Path, tmp_path: Path) -> None:
    """No tests, no virtual environment, no build files, no settings of whoever works there."""
    project, site = tmp_path / "project", tmp_path / "site"
    for name in (
        "flat/.env",
        "flat/__init__.py",
        "tests/__init__.py",
        ".venv/lib/x.py",
        "setup.py",
        "node/x.js",
        "single.py",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("")
    install_editable(site, "flat", project, f"{project}\n")
    (top,) = bundle(find(site, "flat"), cache).paths
    names = ("flat", "single.py", "tests", ".venv", "setup.py", "node", "flat/.env")
    assert [True, True, False, False, False, False, False] == [(top / name).exists() for name in names]


def test_distribution_without_a_record_is_found_by_its_names(cache: Path, tmp_path: Path) -> None:
    """As distributors of systems install; where nothing is found, that is said."""
    install(tmp_path, "old-style", {"old_style/__init__.py": "x = 1\n", "other.py": ""}, record=False)
    (top,) = bundle(find(tmp_path, "old-style"), cache).paths
    assert [True, False] == [(top / name).exists() for name in ("old_style", "other.py")]
    install(tmp_path, "gone", {}, record=False)
    with pytest.raises(PluginLoadError, match="has no record of its files"):
        bundle(find(tmp_path, "gone"), cache)


# -- makers at the same time, killed makers, rubbish


def test_many_makers_at_once_get_the_same(tmp_path: Path) -> None:
    """In a cache that is empty at first."""
    made = install(tmp_path / "site", "shared", {"shared.py": "x = 1\n"})
    found: list[Environment] = []
    threads = [threading.Thread(target=lambda: found.append(bundle(made, tmp_path / "cache"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 4 == len(found)
    assert 1 == len(set(found))
    assert [] == list((tmp_path / "cache").rglob(".tmp-*"))


KILLED = """
import importlib.metadata, os, signal, sys
from pathlib import Path
from fairlead_sandbox.environments import bundle

left = int(sys.argv[3])

def count(event, arguments):
    global left
    if event in {"os.rename", "os.mkdir", "os.chmod", "os.link", "shutil.rmtree"} and sys.argv[2] in str(arguments[0]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

found = next(iter(importlib.metadata.distributions(name="shared", path=[sys.argv[1]])))
sys.addaudithook(count)
bundle(found, Path(sys.argv[2]))
"""


@pytest.mark.parametrize("changes", [0, 5, 200, 1000])
def test_killed_maker_leaves_no_half_of_a_bundle(changes: int, tmp_path: Path) -> None:
    """Not a lock, not a part that is taken for whole; the next maker goes on from what is."""
    made, cache = install(tmp_path / "site", "shared", {"shared.py": "x = 1\n"}), tmp_path / "cache"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "site"), str(cache), str(changes)]
    assert -9 == subprocess.run(command, check=False).returncode
    assert [] == list(cache.glob("bundles/[0-9a-f]*"))
    assert "1" == run_from(bundle(made, cache), "import fairlead, shared, trio; print(shared.x)")
    collect_garbage(cache)
    assert [] == list(cache.rglob(".tmp-*"))


def test_bundle_that_lost_something_is_made_again(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a loss of power a file may be empty: what was made before this start of the machine is read through."""
    made = bundle(install(tmp_path, "torn", {"torn.py": "x = 1\n"}), cache)
    settle(tmp_path)
    bundle(find(tmp_path, "torn"), cache)
    damaged = made.paths[0] / "torn.py"
    damaged.chmod(0o644)
    damaged.write_text("")
    monkeypatch.setattr("fairlead_sandbox.environments._bundle._boot", lambda: "another")
    assert made == bundle(find(tmp_path, "torn"), cache)
    assert "x = 1\n" == shown(made, "torn.py")


def test_unused_bundles_go_and_shared_parts_stay(tmp_path: Path) -> None:
    """But those that somebody keeps; what killed makers left goes as well."""
    cache, site = tmp_path / "cache", tmp_path / "site"
    one, two, three = (
        bundle(install(site, name, {f"{name}.py": f"# {name}\n"}), cache) for name in ("one", "two", "three")
    )
    os.utime(one.paths[0].parent / "made.json", (0, 0))
    os.utime(two.paths[0].parent / "made.json", (0, 0))
    (cache / "bundles/.tmp-killed/site").mkdir(parents=True)
    (cache / "bundles/.tmp-killed/site").chmod(0o555)
    (cache / "parts/.tmp-killed").mkdir()
    (cache / "index/.tmp-killed").touch()
    assert (one.digest,) == collect_garbage(cache, keep=[two.digest])
    assert [False, True, True] == [each.paths[0].exists() for each in (one, two, three)]
    assert [] == list(cache.rglob(".tmp-*"))
    assert "0.1.0" == run_from(three, "import importlib.metadata as m, trio, three; print(m.version('fairlead-core'))")
    assert "# one\n" == shown(bundle(find(site, "one"), cache), "one.py")


def test_bundle_that_somebody_holds_stays(tmp_path: Path) -> None:
    """Whatever its age: something runs from it."""
    cache, site = tmp_path / "cache", tmp_path / "site"
    made = bundle(install(site, "old", {"old.py": "x = 1\n"}), cache)
    with hold(made):
        assert () == collect_garbage(cache, unused=0)
    assert (made.digest,) == collect_garbage(cache, unused=0)


def test_runtime_of_guests_is_the_core_and_this_package(cache: Path) -> None:
    """For environments that have what these need."""
    (top,) = guest_runtime(cache).paths
    packages = {path.name for path in top.iterdir() if not path.name.endswith(".dist-info")} - {"__pycache__"}
    assert {"fairlead", "fairlead_pytest.py", "fairlead_sandbox"} == packages


def test_host_is_as_it_was(cache: Path, tmp_path: Path) -> None:
    """Not a link more, not a mode, not a time: nothing in a bundle is a file of the host."""
    made = install(tmp_path, "host-file", {"host_file.py": "x = 1\n"}, entry_points=entry_points("x", "host_file"))
    before = {path: (path.stat(), path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*")}
    (top,) = bundle(made, cache).paths
    after = {path: (path.stat(), path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*")}
    fields = ("st_ino", "st_mode", "st_nlink", "st_size", "st_mtime_ns", "st_ctime_ns")
    flat = [
        {str(path): ([getattr(found, name) for name in fields], content) for path, (found, content) in each.items()}
        for each in (before, after)
    ]
    assert flat[0] == flat[1]
    assert not (top / "host_file.py").samefile(tmp_path / "host_file.py")
