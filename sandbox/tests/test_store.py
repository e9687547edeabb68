"""The store installs a plugin beside everything else, with real uv and pip; it enables and runs nothing of it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sysconfig
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead.errors import PluginConflict, PluginError, PluginLoadError, PluginNotFound, PluginVersionError
from fairlead_sandbox.environments import Asks, Environment, PluginStore, Sources, hold, repack
from fairlead_sandbox.environments._closure import closure, finder
from fairlead_sandbox.environments._installers import Pip, Uv, find_installer

from .packages import TRAP, Unpacker, entry_points, plugin_files, run_from, wheel

OFFLINE = Sources(no_index=True)
LIMIT = 120


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def steps() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, cache: Path, steps: list[str]) -> PluginStore:
    return PluginStore(tmp_path / "plugins", cache, watch=steps.append)


@pytest.fixture
def quick(tmp_path: Path, cache: Path, steps: list[str]) -> PluginStore:
    """A store that needs no installer."""
    return PluginStore(tmp_path / "plugins", cache, watch=steps.append, installer=Unpacker())


def made(directory: Path, name: str = "acme-dice", version: str = "1.0", **manifest: Any) -> Path:
    """The wheel of a plugin; whoever imports it is told so."""
    package = name.replace("-", "_")
    points = entry_points(name.removeprefix("acme-"), package)
    return wheel(directory, name, plugin_files(package, **manifest), version=version, entry_points=points)


def content(directory: Path) -> dict[str, str]:
    """Each file below, its mode and its bytes; each link and where it leads."""
    found = {}
    for root, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in (Path(root, name) for name in (*names, *folders)):
            if path.is_symlink():
                found[str(path)] = str(path.readlink())
            elif path.is_file():
                found[str(path)] = f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found


# -- adding


async def test_wheel_gets_an_environment_of_its_own(store: PluginStore, tmp_path: Path, steps: list[str]) -> None:
    """Offline, with what the host has; the plugin runs from it alone, with the host's core."""
    path = made(tmp_path, hosts=["dice.example:443"], secrets=["token"], isolation="kernel", stage="stable")
    plugin = await store.add(str(path), OFFLINE)
    assert ["resolving", "installing", "placing", "swapping"] == steps
    assert (plugin,) == store.list()
    assert (plugin.site,) == store.sites()
    (asks,) = plugin.asks.plugins
    assert ("tools/dice", "1.0", "kernel", "stable", "trio") == (
        asks.label,
        asks.api,
        asks.isolation,
        asks.stage,
        asks.runtime,
    )
    assert (("dice.example:443",), ("token",), ()) == (asks.hosts, asks.secrets, asks.mounts)
    code = "import acme_dice, anyio, fairlead, fairlead_sandbox.errors, trio; print(fairlead.__file__)"
    assert "/bundles/" in run_from(store.environment("acme-dice"), code)
    assert store.is_whole("acme-dice")


async def test_lock_has_hashes_of_everything_but_the_hosts_own(store: PluginStore, tmp_path: Path) -> None:
    """The core is in no lock: under its name an index may have anything."""
    plugin = await store.add(str(made(tmp_path)), OFFLINE)
    text = plugin.lock.read_text("utf-8")
    lines = [line for line in text.replace("\\\n", "").splitlines() if not line.startswith("#")]
    assert all("==" in line and "--hash=sha256:" in line for line in lines)
    names = {line.split("==")[0] for line in lines}
    assert {"acme-dice", "anyio", "trio", "attrs"} <= names
    assert not {"fairlead-core", "fairlead-sandbox", "docker"} & names
    assert hashlib.sha256(made(tmp_path).read_bytes()).hexdigest() in text
    assert not list(plugin.site.glob("fairlead*"))


async def test_everything_in_it_is_read_only(store: PluginStore, tmp_path: Path) -> None:
    """And there are no programs, start-up files or traces of the installation."""
    plugin = await store.add(str(made(tmp_path)), OFFLINE)
    every = list(plugin.directory.rglob("*"))
    assert [] == [path for path in every if path.stat().st_mode & 0o222]
    assert [] == [path for path in every if path.suffix == ".pth" or path.name in ("direct_url.json", "INSTALLER")]
    assert not (plugin.site / "bin").exists()


async def test_two_plugins_with_other_versions_of_one_library_work(store: PluginStore, tmp_path: Path) -> None:
    """And the host's environment is, byte for byte, what it was."""
    links = tmp_path / "links"
    for version in ("1.0", "2.0"):
        wheel(links, "acme-shared", {"acme_shared.py": f"version = {version!r}\n"}, version=version)
    for name, version in (("acme-old", "1.0"), ("acme-new", "2.0")):
        package = name.replace("-", "_")
        files = plugin_files(package, code="from acme_shared import version\n")
        points = entry_points(name, package)
        wheel(tmp_path, name, files, requires=(f"acme-shared=={version}", "fairlead-core"), entry_points=points)
    host = Path(sysconfig.get_path("purelib"))
    before = content(host)
    for name in ("acme_old", "acme_new"):
        await store.add(str(tmp_path / f"{name}-1.0-py3-none-any.whl"), Sources((str(links),), no_index=True))
    code = "import importlib.metadata as m; (p,) = m.entry_points(group='fairlead.tools'); print(p.load().version)"
    assert ["1.0", "2.0"] == [run_from(store.environment(name), code) for name in ("acme-old", "acme-new")]
    assert before == content(host)


async def test_pip_does_the_same(tmp_path: Path, cache: Path) -> None:
    """Where there is no uv: by a pip in an environment that is made for it."""
    links = tmp_path / "links"
    wheel(links, "acme-shared", {"acme_shared.py": "x = 1\n"})
    files = plugin_files("acme_pip", code="import acme_shared\n")
    requires = ("acme-shared>=1", "fairlead-core>=0.1,<1")
    path = wheel(tmp_path, "acme-pip", files, requires=requires, entry_points=entry_points("pip", "acme_pip"))
    with trio.fail_after(LIMIT):
        store = PluginStore(tmp_path / "plugins", cache, installer=await Pip.make(cache))
        plugin = await store.add(str(path), Sources((str(links),), no_index=True))
    assert "pip" == plugin.installer
    assert "acme-shared 1.0" in plugin.asks.needs
    assert "acme-shared==1.0" in plugin.lock.read_text("utf-8")
    assert "1" == run_from(store.environment("acme-pip"), "import acme_pip.plugin as p; print(p.acme_shared.x)")
    assert not list(plugin.site.glob("fairlead*"))


async def test_name_comes_from_the_sources_with_its_dependencies(store: PluginStore, tmp_path: Path) -> None:
    """The newest that fits; an upgrade takes a newer one, the old one is kept for whoever still runs it."""
    links = tmp_path / "links"
    made(links, version="1.0")
    made(links, version="1.5")
    sources = Sources((str(links),), no_index=True)
    first = await store.add("acme-dice<1.2", sources)
    assert ("1.0", "index") == (first.version, first.source.kind)
    done = await store.upgrade("dice", "acme-dice", sources)
    assert (True, "1.5") == (done.changed, done.after.version)
    assert first.site.is_dir()
    assert (done.after.site,) == store.sites()
    again = await store.upgrade("tools/dice", sources=sources)
    assert not again.changed


async def test_core_from_elsewhere_is_never_taken(store: PluginStore, tmp_path: Path) -> None:
    """A stranger offers a newer fairlead-core and a fairlead-sandbox: the host's own are used."""
    links = tmp_path / "links"
    wheel(links, "fairlead-core", {"fairlead/__init__.py": TRAP}, version="0.9")
    wheel(links, "fairlead-sandbox", {"fairlead_sandbox/__init__.py": TRAP}, version="0.9")
    path = wheel(
        tmp_path,
        "acme-dice",
        plugin_files("acme_dice"),
        requires=("fairlead-core>=0.1",),
        entry_points=entry_points("dice", "acme_dice"),
    )
    plugin = await store.add(str(path), Sources((str(links),), no_index=True))
    assert "0.1.0" == run_from(
        store.environment("dice"), "import importlib.metadata as m; print(m.version('fairlead-core'))"
    )
    assert not list(plugin.site.glob("fairlead*"))
    needy = wheel(
        tmp_path,
        "acme-needy",
        plugin_files("acme_needy"),
        requires=("fairlead-sandbox",),
        entry_points=entry_points("needy", "acme_needy"),
    )
    with pytest.raises(
        PluginLoadError, match="needs fairlead-sandbox, which the host has and which must not come from"
    ):
        await store.add(str(needy), Sources((str(links),), no_index=True))


async def test_place_that_a_plugin_names_is_not_asked(quick: PluginStore, tmp_path: Path) -> None:
    """Neither an index nor the person has said that something comes from there."""
    path = wheel(
        tmp_path,
        "acme-dice",
        plugin_files("acme_dice"),
        requires=("acme-evil @ https://evil.example/acme_evil-1.0-py3-none-any.whl",),
        entry_points=entry_points("dice", "acme_dice"),
    )
    with pytest.raises(PluginLoadError, match=r"wants acme-evil from https://evil\.example/"):
        await quick.add(str(path))


async def test_uv_is_used_where_it_is(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the interpreter, then on the path; else pip."""
    assert "uv" == (await find_installer(cache)).name
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "python").symlink_to(Path(sysconfig.get_path("scripts")) / "python")
    assert "pip" == (await find_installer(cache)).name
    (tmp_path / "uv").write_text("#!/bin/sh\n")
    (tmp_path / "uv").chmod(0o755)
    assert Uv(str(tmp_path / "uv")) == await find_installer(cache)


async def test_core_that_is_too_old_for_it_is_told(store: PluginStore, tmp_path: Path) -> None:
    """In the resolver's words."""
    points = entry_points("dice", "acme_dice")
    path = wheel(tmp_path, "acme-dice", plugin_files("acme_dice"), requires=("fairlead-core>=7",), entry_points=points)
    with pytest.raises(PluginLoadError, match="fairlead-core>=7"):
        await store.add(str(path), OFFLINE)
    assert () == store.list()


async def test_real_package_comes_from_the_real_index(store: PluginStore, tmp_path: Path) -> None:
    """A plugin that needs a small package from PyPI, which the host has not."""
    files = plugin_files("acme_sun", code="import pyjokes\n")
    points = entry_points("sun", "acme_sun")
    path = wheel(tmp_path, "acme-sun", files, requires=("pyjokes==0.8.3", "fairlead-core"), entry_points=points)
    with trio.fail_after(LIMIT):
        plugin = await store.add(str(path))
    assert "pyjokes 0.8.3" in plugin.asks.needs
    assert "0.8.3" == run_from(store.environment("sun"), "import importlib.metadata as m; print(m.version('pyjokes'))")


# -- projects


def project(directory: Path, name: str = "acme-built") -> Path:
    """The sources of a plugin, to be built with hatchling."""
    package = name.replace("-", "_")
    source = directory / name
    for target, text in plugin_files(package, code="x = 1\n").items():
        (source / target).parent.mkdir(parents=True, exist_ok=True)
        (source / target).write_text(text)
    (source / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.0"\ndependencies = ["fairlead-core"]\n'
        f'[project.entry-points."fairlead.tools"]\nbuilt = "{package}.plugin"\n'
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    )
    return source


@pytest.fixture(scope="module")
def build_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hatchling and what it needs, as wheels: nothing is fetched."""
    links = tmp_path_factory.mktemp("build-tools")
    for needed in closure([importlib.metadata.distribution("hatchling")], finder()).values():
        repack(needed, links)
    return links


async def test_project_is_built_only_where_that_is_allowed(
    store: PluginStore, tmp_path: Path, build_tools: Path, steps: list[str]
) -> None:
    """Building runs its code; a change of the sources is another version, though its number is the same."""
    source, sources = project(tmp_path), Sources((str(build_tools),), no_index=True)
    with pytest.raises(PluginLoadError, match="runs the project's own code on this machine, as you"):
        await store.add(str(source), sources)
    assert [] == steps
    first = await store.add(f"{source}/", sources, allow_build=True)
    assert ("project", str(source)) == (first.source.kind, first.source.given)
    assert "building" == steps[0]
    (source / "acme_built/plugin.py").write_text("x = 2\n")
    done = await store.upgrade("acme-built", sources=sources, allow_build=True)
    assert (True, "1.0", "1.0") == (done.changed, done.before.version, done.after.version)
    assert "2" == run_from(store.environment("built"), "import acme_built.plugin as p; print(p.x)")


async def test_build_that_fails_says_why(store: PluginStore, tmp_path: Path, build_tools: Path) -> None:
    """With the tool's last words, and nothing left behind."""
    source = project(tmp_path)
    (source / "pyproject.toml").write_text("[project\n")
    with pytest.raises(PluginLoadError, match=r"building .* failed") as raised:
        await store.add(str(source), Sources((str(build_tools),), no_index=True), allow_build=True)
    assert f"uv build --wheel {source}" == raised.value.next_step
    assert {".lock"} == {path.name for path in (tmp_path / "plugins").iterdir()}


# -- refusals


async def test_what_is_no_plugin_is_refused(quick: PluginStore, tmp_path: Path) -> None:
    """A library, another API, a manifest that is none, an entry point that is no module."""
    library = wheel(tmp_path, "acme-library", {"acme_library.py": ""})
    with pytest.raises(PluginLoadError, match=r"brings no plugin: it has no entry point in fairlead\.channels"):
        await quick.add(str(library))
    with pytest.raises(PluginVersionError, match=r"needs version 2\.0 of the plugin API; this core offers 1\.1"):
        await quick.add(str(made(tmp_path, "acme-future", api="2.0")))
    with pytest.raises(PluginLoadError, match=r"fairlead-plugin\.json that is no manifest"):
        await quick.add(str(made(tmp_path, "acme-odd", hosts="everywhere")))
    points = "[fairlead.tools]\nodd = ../../etc.x\n"
    with pytest.raises(PluginLoadError, match="which is no name of a module"):
        await quick.add(str(wheel(tmp_path, "acme-path", {"acme_path.py": ""}, entry_points=points)))
    assert () == quick.list()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("./nowhere", "no directory and no wheel"),
        ("nowhere-1.0-py3-none-any.whl", "is not there"),
        ("acme dice!", "is no name of a package"),
        ("acme @ https://example.org/acme", "is no directory and no wheel"),
        ("acme; python_version < '3'", "names a place or a condition"),
        ("nonsense.whl", "has no name of a wheel"),
        ("acme-1.0-cp27-cp27m-win32.whl", "is not there"),
    ],
)
async def test_what_is_no_source_is_refused(quick: PluginStore, given: str, words: str) -> None:
    """In words that say what it would have to be."""
    with pytest.raises(PluginLoadError, match=words) as raised:
        await quick.add(given)
    assert raised.value.next_step


async def test_names_have_one_owner(quick: PluginStore, tmp_path: Path) -> None:
    """A plugin in the host's environment, one in the store, and the distribution itself."""
    rival = wheel(
        tmp_path, "acme-rival", plugin_files("acme_rival"), entry_points=entry_points("calculator", "acme_rival")
    )
    with pytest.raises(PluginConflict, match=r"tools/calculator of acme-rival 1\.0 is taken by fairlead-calculator"):
        await quick.add(str(rival))
    ours = wheel(tmp_path, "fairlead-clock", plugin_files("x_clock"), entry_points=entry_points("x", "x_clock"))
    with pytest.raises(PluginConflict, match=r"fairlead-clock of .* is taken by fairlead-clock 0\.1\.0 \(in the host"):
        await quick.add(str(ours))
    await quick.add(str(made(tmp_path)))
    with pytest.raises(PluginConflict, match="has an environment already") as raised:
        await quick.add(str(made(tmp_path, version="2.0")))
    assert "fairlead plugins upgrade acme-dice" == raised.value.next_step
    second = wheel(tmp_path, "acme-second", plugin_files("acme_2"), entry_points=entry_points("dice", "acme_2"))
    with pytest.raises(PluginConflict, match=r"tools/dice of acme-second 1\.0 is taken by acme-dice 1\.0"):
        await quick.add(str(second))
    with pytest.raises(PluginConflict, match="is another plugin than acme-dice"):
        await quick.upgrade("dice", str(second))
    assert ["acme-dice"] == [plugin.name for plugin in quick.list()]


async def test_person_may_say_no(quick: PluginStore, tmp_path: Path, steps: list[str]) -> None:
    """After all is known; nothing is changed."""
    asked: list[tuple[Asks, Asks | None]] = []

    async def refuse(asks: Asks, before: Asks | None) -> bool:
        asked.append((asks, before))
        return False

    with pytest.raises(PluginError, match="was not taken; nothing was changed"):
        await quick.add(str(made(tmp_path)), confirm=refuse)
    assert "asking" == steps[-1]
    assert () == quick.list()
    plugin = await quick.add(str(made(tmp_path)))
    with pytest.raises(PluginError, match="was not taken"):
        await quick.upgrade("dice", str(made(tmp_path, version="2.0")), confirm=refuse)
    assert (plugin,) == quick.list()
    assert ["1.0", "2.0"] == [asks.version for asks, _ in asked]
    assert [None, "1.0"] == [before and before.version for _, before in asked]


# -- upgrades and removal


async def test_version_that_does_not_work_never_comes_into_use(quick: PluginStore, tmp_path: Path) -> None:
    """The check runs it where it will be; the old one stays, the new one goes."""
    before = await quick.add(str(made(tmp_path)))
    looked: list[Environment] = []

    async def check(environment: Environment) -> None:
        looked.append(environment)
        assert (before,) == quick.list()
        raise ZeroDivisionError("its dice have no sides")

    with pytest.raises(PluginLoadError, match=r"2\.0 does not work, so 1\.0 stays in use: its dice have no sides"):
        await quick.upgrade("acme-dice", str(made(tmp_path, version="2.0")), check=check)
    assert (before,) == quick.list()
    assert "2.0" == looked[0].version
    assert not looked[0].paths[-1].exists()


async def test_version_that_works_comes_into_use_after_the_check(quick: PluginStore, tmp_path: Path) -> None:
    """Two upgrades later the first version is gone."""
    first = await quick.add(str(made(tmp_path)))

    async def check(environment: Environment) -> None:
        assert "ok" == await trio.to_thread.run_sync(partial(run_from, environment, "import acme_dice; print('ok')"))

    second = (await quick.upgrade("dice", str(made(tmp_path, version="2.0")), check=check)).after
    assert (second,) == quick.list()
    assert first.site.exists()
    await quick.upgrade("dice", str(made(tmp_path, version="3.0")), check=check)
    assert [False, True] == [each.site.exists() for each in (first, second)]
    back = await quick.upgrade("dice", str(made(tmp_path, version="2.0")))
    assert "2.0" == back.after.version


async def test_removed_plugin_is_gone(quick: PluginStore, tmp_path: Path) -> None:
    """Another one stays; one that is not there is told with those that are."""
    await quick.add(str(made(tmp_path)))
    other = await quick.add(str(made(tmp_path, "acme-cards")))
    assert "acme-dice" == await quick.remove("tools/dice")
    assert (other,) == quick.list()
    assert {".lock", "acme-cards"} == {path.name for path in (tmp_path / "plugins").iterdir()}
    with pytest.raises(PluginNotFound, match="there are: acme-cards"):
        await quick.remove("acme-dice")


async def test_version_that_somebody_holds_stays(quick: PluginStore, tmp_path: Path) -> None:
    """Through upgrades and removal; the next change after that removes it."""
    first = await quick.add(str(made(tmp_path)))
    with hold(quick.environment("dice")):
        await quick.upgrade("dice", str(made(tmp_path, version="2.0")))
        await quick.upgrade("dice", str(made(tmp_path, version="3.0")))
        await quick.remove("dice")
        assert () == quick.list()
        assert first.site.is_dir()
        await quick.add(str(made(tmp_path)))
        assert first.site.is_dir()
    assert ["1.0"] == [plugin.version for plugin in quick.list()]
    await quick.upgrade("dice", str(made(tmp_path, version="2.0")))
    await quick.upgrade("dice", str(made(tmp_path, version="3.0")))
    assert not first.site.exists()
    with pytest.raises(FileNotFoundError), hold(Environment((first.site,), "")):
        raise AssertionError("it is gone")


async def test_damaged_environment_is_told_and_can_be_removed(quick: PluginStore, tmp_path: Path) -> None:
    """It hides no other."""
    plugin = await quick.add(str(made(tmp_path)))
    other = await quick.add(str(made(tmp_path, "acme-cards")))
    file = plugin.directory / "plugin.json"
    file.chmod(0o644)
    file.write_text("{}")
    assert (other,) == quick.list()
    with pytest.raises(PluginLoadError, match="the environment of acme-dice is damaged"):
        quick.environment("acme-dice")
    assert "acme-dice" == await quick.remove("acme-dice")
    edited = other.site / "acme_cards/plugin.py"
    assert quick.is_whole("cards")
    edited.chmod(0o644)
    edited.write_text("x = 2\n")
    assert not quick.is_whole("cards")


async def test_other_python_or_core_is_told(quick: PluginStore, tmp_path: Path) -> None:
    """An upgrade mends both."""
    plugin = await quick.add(str(made(tmp_path)))
    file = plugin.directory / "plugin.json"
    raw = json.loads(file.read_text("utf-8"))
    for change, words in (
        ({"tag": "cpython-399-linux"}, "was installed for cpython-399-linux, and this is"),
        ({"runtime_needs": ["trio>=99"]}, "was installed for another version of the core; this one needs attrs"),
    ):
        file.chmod(0o644)
        file.write_text(json.dumps({**raw, **change}))
        with pytest.raises(PluginLoadError, match=words) as raised:
            quick.environment("dice")
        assert "fairlead plugins upgrade acme-dice" == raised.value.next_step


@pytest.fixture
def _umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
async def test_other_users_can_read_it(quick: PluginStore, tmp_path: Path) -> None:
    """In a container a plugin has another user, whatever this one keeps for itself."""
    plugin = await quick.add(str(made(tmp_path)))
    top = quick.environment("dice").paths[0]
    closed = [
        path for root in (plugin.site, top) for path in (root, *root.rglob("*")) if not path.stat().st_mode & 0o004
    ]
    assert [] == closed
