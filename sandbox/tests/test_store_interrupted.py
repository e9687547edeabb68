"""A store whose process is killed at any step has the state before or the state after."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from fairlead_sandbox.environments import PluginStore, StoredPlugin
from fairlead_sandbox.environments import _tree as tree

from .packages import Unpacker, entry_points, plugin_files, wheel

HERE = Path(__file__).parent
KILLED = """
import importlib.util, os, signal, sys
from pathlib import Path
import trio
from fairlead_sandbox.environments import PluginStore

act, directory, cache, source, tests, limit = sys.argv[1:]
sys.path.insert(0, tests)
from packages import Unpacker

left = int(limit)
watched = {"os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.chmod", "open"}

def count(event, arguments):
    # Every change of a name below the store, as the interpreter is about to make it. Files that are opened for writing
    # count too; what is read does not.
    global left
    if not armed or event not in watched or not str(arguments[0]).startswith(directory):
        return
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
        return
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

armed = False

def watch(step):
    global armed
    armed = armed or step in ("placing", "swapping", "removing")

sys.addaudithook(count)
store = PluginStore(Path(directory), Path(cache), watch=watch, installer=Unpacker())
if act == "add":
    trio.run(lambda: store.add(source))
elif act == "upgrade":
    trio.run(lambda: store.upgrade("acme-dice", source))
else:
    trio.run(lambda: store.remove("acme-dice"))
"""
MOST = 100


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def made(directory: Path, version: str) -> Path:
    files, points = plugin_files("acme_dice"), entry_points("dice", "acme_dice")
    return wheel(directory, "acme-dice", files, version=version, entry_points=points)


def killed(act: str, directory: Path, cache: Path, source: Path, after: int) -> bool:
    """Do that in a process that kills itself after so many changes; whether it came so far."""
    command = [sys.executable, "-c", KILLED, act, str(directory), str(cache), str(source), str(HERE), str(after)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


def state(directory: Path, cache: Path) -> list[tuple[str, bool]]:
    """What is in use, and whether all of it is there."""
    store = PluginStore(directory, cache)
    assert len(store.sites()) == len(store.list())
    return [(plugin.version, store.is_whole(plugin.name)) for plugin in store.list()]


@pytest.mark.parametrize(
    ("act", "before", "after"),
    [("add", [], ["2.0"]), ("upgrade", ["1.0"], ["2.0"]), ("remove", ["1.0"], [])],
)
def test_killed_at_any_change_of_a_name(
    act: str, before: list[str], after: list[str], tmp_path: Path, cache: Path
) -> None:
    """Nothing between the two, and the next one who changes something removes what was left."""
    first, second = made(tmp_path, "1.0"), made(tmp_path, "2.0")
    origin, directory = tmp_path / "origin", tmp_path / "plugins"
    store = PluginStore(origin, cache, installer=Unpacker())
    origin.mkdir()
    for _ in before:
        trio.run(store.add, str(first))
    seen = []
    for changes in range(MOST):
        shutil.copytree(origin, directory, symlinks=True)
        came_so_far = killed(act, directory, cache, second, changes)
        seen.append(state(directory, cache))
        if not came_so_far:
            break
        trio.run(finish, directory, cache, second)
        tree.remove_tree(directory)
    whole = [[(version, True) for version in versions] for versions in (before, after)]
    assert [] == [each for each in seen if each not in whole]
    assert whole[0] == seen[0]
    assert whole[1] == seen[-1]
    assert 3 < len(seen) < MOST


async def finish(directory: Path, cache: Path, source: Path) -> None:
    """Whatever was left, the next change works, and leaves no rubbish."""
    store = PluginStore(directory, cache, installer=Unpacker())
    if store.list():
        await store.upgrade("acme-dice", str(source))
    else:
        await store.add(str(source))
    (plugin,) = store.list()
    assert "2.0" == plugin.version
    known = {".lock", "acme-dice"}
    assert known == {path.name for path in directory.iterdir()}
    allowed = {"current", "previous", plugin.directory.name}
    extra = {path.name for path in (directory / "acme-dice").iterdir()} - allowed
    assert all(name.startswith("1.0-") for name in extra)


async def test_cancelled_change_leaves_the_old_state(tmp_path: Path, cache: Path) -> None:
    """At each of its steps."""
    directory = tmp_path / "plugins"
    for step in ("resolving", "installing", "asking", "placing", "checking"):
        with trio.CancelScope() as scope:

            def watch(now: str, step: str = step, scope: trio.CancelScope = scope) -> None:
                if now == step:
                    scope.cancel()

            async def agree(*_: object) -> bool:
                await trio.lowlevel.checkpoint()
                return True

            store = PluginStore(directory, cache, watch=watch, installer=Unpacker())
            if step != "checking":
                await store.add(str(made(tmp_path, "1.0")), confirm=agree)
            else:
                await PluginStore(directory, cache, installer=Unpacker()).add(str(made(tmp_path, "1.0")))
                await store.upgrade("dice", str(made(tmp_path, "2.0")), check=agree)
        assert scope.cancelled_caught
        there = [plugin.version for plugin in PluginStore(directory, cache).list()]
        assert (["1.0"] if step == "checking" else []) == there
        assert [] == list(directory.glob(".tmp-*"))
        assert len(there) == len(list(directory.glob("acme-dice/[0-9]*")))


async def test_two_processes_do_not_change_at_once(tmp_path: Path, cache: Path) -> None:
    """The second waits, and then sees what the first has done."""
    waiting = trio.Event()
    first = PluginStore(tmp_path / "plugins", cache, installer=Unpacker())
    second = PluginStore(
        tmp_path / "plugins", cache, installer=Unpacker(), watch=lambda step: step == "waiting" and waiting.set()
    )
    asked, go_on = trio.Event(), trio.Event()

    async def confirm(*_: object) -> bool:
        asked.set()
        await go_on.wait()
        return True

    async def add_first() -> None:
        await first.add(str(made(tmp_path, "1.0")), confirm=confirm)

    results: list[str | StoredPlugin] = []

    async def remove_second() -> None:
        results.append(await second.remove("acme-dice"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(add_first)
        await asked.wait()
        nursery.start_soon(remove_second)
        await waiting.wait()
        assert [] == results
        go_on.set()
    assert ["acme-dice"] == results
    assert () == first.list()


def test_lock_ends_with_its_process(tmp_path: Path, cache: Path) -> None:
    """A killed process holds nobody up."""
    source, directory = made(tmp_path, "1.0"), tmp_path / "plugins"
    assert killed("add", directory, cache, source, 0)
    plugin = trio.run(PluginStore(directory, cache, installer=Unpacker()).add, str(source))
    assert json.loads((plugin.directory / "plugin.json").read_text("utf-8"))["name"] == plugin.name
    assert os.access(plugin.lock, os.R_OK)
