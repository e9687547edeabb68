"""The public API changes only where somebody says so: adding is a minor version, removing takes a major one."""

from __future__ import annotations

import difflib
import importlib
import sys
import types
import warnings
from pathlib import Path

import pluggy
import pytest

from fairlead._deprecations import DEPRECATIONS, Deprecation, retired
from fairlead.hookspecs import API_VERSION
from fairlead.plugins import serves

from .api_changes import DECLARED
from .api_rules import Change, changes, parse_snapshot
from .api_snapshot import RELEASED, SNAPSHOT, public_modules, render_api

WRITE = "uv run python tests/house/api_snapshot.py --write"
ADD = (
    "Adding is a minor version: API_VERSION in core/src/fairlead/hookspecs.py must be above the last released one"
    " ({last}; it is {now}). Write a fragment .changes/NAME.added.md."
)
BREAK = (
    "Removing takes a major version. Until then keep the name working: write a line with version, replacement and link"
    " into DEPRECATIONS (core/src/fairlead/_deprecations.py says how). Where the change breaks nobody, say why in"
    " tests/house/api_changes.py."
)


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def released() -> dict[str, dict[str, str]]:
    """The snapshot of each released version of the plugin API, oldest first."""
    files = sorted(RELEASED.glob("*.txt"), key=lambda path: number(path.stem))
    return {path.stem: parse_snapshot(path.read_text("utf-8")) for path in files}


def breaks_of(version: str, found: list[Change], deprecated: set[str]) -> list[Change]:
    """Those changes against a released version that are neither declared nor carried by the table of deprecations."""
    declared = {name for other, names in DECLARED.items() if number(other) > number(version) for name in names}
    return [
        change
        for change in found
        if change.breaks and change.name not in declared and not any(is_in(change.name, name) for name in deprecated)
    ]


def is_in(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")


def test_public_api_is_the_declared_one() -> None:
    """Whoever changes it writes that down, and is told what else to do."""
    declared, found = SNAPSHOT.read_text("utf-8"), render_api()
    if declared == found:
        return
    lines = difflib.unified_diff(declared.splitlines(), found.splitlines(), "declared", "found", lineterm="", n=1)
    different = list(changes(parse_snapshot(declared), parse_snapshot(found)))
    broken = [f"{change.name}: {change.breaks}" for change in different if change.breaks]
    advice = [*broken, BREAK] if broken else [ADD.format(last=list(released())[-1], now=API_VERSION)]
    text = ["the public API differs from tests/house/api.txt", *lines, "", *advice, f"Then: {WRITE}"]
    pytest.fail("\n".join(text), pytrace=False)


@pytest.mark.parametrize("version", released())
def test_nothing_that_was_released_is_broken(version: str) -> None:
    """A plugin for an older version of the same major one finds what it was written for."""
    if number(version)[0] != number(API_VERSION)[0]:
        return
    found = list(changes(released()[version], parse_snapshot(SNAPSHOT.read_text("utf-8"))))
    broken = breaks_of(version, found, set(DEPRECATIONS))
    told = [f"{change.name}: {change.breaks}" for change in broken]
    assert [] == told, "\n".join([f"plugins for version {version} would break:", *told, BREAK])
    text = ADD.format(last=version, now=API_VERSION)
    assert not found or number(version) < number(API_VERSION), f"{[change.name for change in found]}\n{text}"


def test_every_declared_change_is_one() -> None:
    """What breaks nobody and is in no list of changes any more goes out of the table."""
    now, versions = parse_snapshot(SNAPSHOT.read_text("utf-8")), released()
    found = {change.name for before in versions.values() for change in changes(before, now) if change.breaks}
    assert [] == [name for names in DECLARED.values() for name in names if name not in found]


@pytest.mark.parametrize("name", public_modules())
def test_public_module_lists_its_names(name: str) -> None:
    """Each public module says with `__all__` what it offers, and offers what it says."""
    module = importlib.import_module(name)
    assert [] == [public for public in module.__all__ if not hasattr(module, public)]
    assert len(set(module.__all__)) == len(module.__all__)


# -- the rules


BEFORE = """fairlead
    class Channel(Worker)
        level: str = 'host'
        abstract async def send(self, outbound: Outbound) -> Delivery
    class Note
        id: str
        text: str = ''
    def open(config: Config) -> App

schema note
    .: type "object"
    .id: required, type "string"
    .kind = "a"
"""


@pytest.mark.parametrize(
    ("old", "new", "name", "breaks"),
    [
        ("    def open(config: Config) -> App\n", "", "fairlead.open", True),
        ("(config: Config) -> App", "(config: Config, *, data: Path | None = None) -> App", "fairlead.open", False),
        ("(config: Config) -> App", "(config: Config, more: int = 1) -> App", "fairlead.open", False),
        ("(config: Config) -> App", "(config: Config, more: int) -> App", "fairlead.open", True),
        ("(config: Config) -> App", "(config: str) -> App", "fairlead.open", True),
        ("(config: Config) -> App", "(config: Config) -> App | None", "fairlead.open", True),
        ("        id: str\n", "", "fairlead.Note.id", True),
        ("''\n    def", "''\n        lang: str = ''\n    def", "fairlead.Note.lang", False),
        ("''\n    def", "''\n        lang: str\n    def", "fairlead.Note.lang", True),
        ("        id: str\n", "        lang: str = ''\n        id: str\n", "fairlead.Note.__init__", True),
        ("'host'\n", "'host'\n        async def edit(self) -> None\n", "fairlead.Channel.edit", False),
        ("'host'\n", "'host'\n        abstract async def edit(self) -> None\n", "fairlead.Channel.edit", True),
        (
            "    def open",
            "    class Tool\n        abstract def call(self) -> str\n    def open",
            "fairlead.Tool",
            False,
        ),
        ("async def send", "def send", "fairlead.Channel.send", True),
        ('.kind = "a"', '.kind = "a"\n    .kind = "b"', 'schema note .kind = "b"', False),
        ('    .kind = "a"\n', "", 'schema note .kind = "a"', True),
        ('    .kind = "a"\n', '    .kind = "a"\n    .lang: type "string"\n', "schema note .lang", False),
        ('    .kind = "a"\n', '    .kind = "a"\n    .lang: required, type "string"\n', "schema note .lang", True),
        ('required, type "string"', 'minLength 1, required, type "string"', "schema note .id", True),
    ],
)
def test_additions_are_told_from_breaks(old: str, new: str, name: str, breaks: bool) -> None:  # noqa: FBT001  # a column of the table
    """What every plugin that worked still gets is an addition."""
    assert old in BEFORE
    found = {
        change.name: bool(change.breaks)
        for change in changes(*map(parse_snapshot, (BEFORE, BEFORE.replace(old, new, 1))))
    }
    assert breaks == found.get(name), found


def test_equal_snapshots_have_no_changes() -> None:
    """Nothing is invented."""
    text = SNAPSHOT.read_text("utf-8")
    assert [] == list(changes(parse_snapshot(text), parse_snapshot(text)))


# -- deprecations


def test_deprecated_names_keep_their_promises() -> None:
    """Each works, what replaces it is there, and it goes with a later major version."""
    for name, old in DEPRECATIONS.items():
        assert number(old.since) <= number(API_VERSION) < number(old.removal), (
            f"the time of {name} is over: take it out"
        )
        assert 0 == number(old.removal)[1], f"{name}: only a major version removes"
        module, _, attribute = name.rpartition(".")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = getattr(importlib.import_module(module), attribute, None)
        assert found is not None, f"{name}: {module} needs __getattr__ = retired(__name__)"


def test_deprecated_name_works_and_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning has the three things that its reader needs: until when, what instead, and where that is explained."""
    old = Deprecation("1.4", "2.0", "fairlead.plugins.serves", "https://fairlead.dev/changes/serves")
    module = types.ModuleType("fairlead.ancient")
    vars(module)["__getattr__"] = retired("fairlead.ancient", {"fairlead.ancient.fits": old})
    monkeypatch.setitem(sys.modules, "fairlead.ancient", module)
    with pytest.warns(DeprecationWarning, match="fairlead.ancient.fits is deprecated") as told:
        assert serves is module.fits
    text = str(told[0].message)
    assert [] == [word for word in ("1.4", "2.0", old.replacement, old.link) if word not in text]
    assert Path(__file__) == Path(told[0].filename), "it names the line that uses it"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert serves is module.fits
    with pytest.raises(AttributeError, match=r"module 'fairlead\.ancient' has no attribute 'other'"):
        module.other  # noqa: B018  # looking it up is the test


def test_deprecated_hook_works_and_warns_whoever_implements_it() -> None:
    """As `_deprecations` tells to mark it; pluggy gives the warning."""
    old = Deprecation("1.4", "2.0", "fairlead.hookspecs.fairlead_tools", "https://fairlead.dev/changes/gadgets")

    class Specs:
        @pluggy.HookspecMarker("kit")(warn_on_impl=DeprecationWarning(old.say("fairlead.hookspecs.fairlead_gadgets")))
        def fairlead_gadgets(self) -> list[str]: ...  # type: ignore[empty-body]  # a specification has no body

    class Plugin:
        @pluggy.HookimplMarker("kit")
        def fairlead_gadgets(self) -> list[str]:
            return ["works"]

    manager = pluggy.PluginManager("kit")
    manager.add_hookspecs(Specs)
    with pytest.warns(DeprecationWarning, match=r"gone in 2\.0; use fairlead\.hookspecs\.fairlead_tools instead"):
        manager.register(Plugin())
    assert [["works"]] == manager.hook.fairlead_gadgets()


def test_removal_that_is_in_the_table_is_no_break() -> None:
    """The name still works, with all its members; any other removal is a break."""
    after = parse_snapshot(BEFORE.replace("    class Note\n        id: str\n        text: str = ''\n", ""))
    found = list(changes(parse_snapshot(BEFORE), after))
    assert ["fairlead.Note"] == [change.name for change in breaks_of("1.0", found, set())]
    assert [] == breaks_of("1.0", found, {"fairlead.Note"})
