"""Who may import whom: import-linter's contracts leave nobody out, and are confirmed without it.

`lint-imports` itself runs in `uv run tox -e lint`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .checkout import CORE, PLUGINS, ROOMS, ROOT, SANDBOX, Room, imports, place, python_files, read_toml, report
from .contracts import ThirdPartiesContract

SIX = {"attrs", "cattrs", "jsonschema", "pluggy", "stevedore", "trio"}
CORE_IMPORTS = {"attr", "attrs", "cattrs", "jsonschema", "pluggy", "referencing", "stevedore", "trio"}
"""The names under which the six are imported; `referencing` is the registry that jsonschema takes and brings along."""

LANGUAGE = {"attrs", "trio"}
"""The core's contracts are spoken in them, so whoever depends on the core has them."""

rooms = pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)


@frozen
class Graph:
    """The two things that the contract asks import-linter's graph for."""

    edges: dict[str, set[str]]

    @property
    def modules(self) -> set[str]:
        return set(self.edges)

    def find_modules_directly_imported_by(self, module: str) -> set[str]:
        return self.edges[module]


def linter() -> dict[str, Any]:
    config: dict[str, Any] = read_toml(ROOT / "pyproject.toml")["tool"]["importlinter"]
    return config


def contract(identity: str) -> dict[str, Any]:
    return next(contract for contract in linter()["contracts"] if contract["id"] == identity)


def sources(room: Room) -> list[Path]:
    return list(python_files(room.source))


def outside(path: Path) -> set[tuple[str, int]]:
    """What a file imports from neither the standard library nor Fairlead, as (top-level name, line)."""
    found = {(name.partition(".")[0], line) for name, line in imports(path)}
    return {(top, line) for top, line in found if top not in sys.stdlib_module_names and not is_ours(top)}


def is_ours(top: str) -> bool:
    return top == "fairlead" or top.startswith("fairlead_")


@functools.cache
def distributions() -> dict[str, set[str]]:
    """Import name to the distributions that provide it, in this environment."""
    found = importlib.metadata.packages_distributions()
    return {name: {canonicalize_name(owner) for owner in owners} for name, owners in found.items()}


def test_third_party_that_is_not_allowed_breaks_the_contract() -> None:
    """Our own kind of contract refuses asyncio and a seventh third party, and nothing else."""
    graph = Graph({"fairlead._app": {"trio", "json", "asyncio", "httpx2", "fairlead"}, "httpx2": {"ssl", "h11"}})
    options = {"packages": ["fairlead"], "allowed": ["trio"], "never": ["asyncio"]}
    check = ThirdPartiesContract("x", {}, options).check(graph, verbose=False)
    assert not check.kept
    assert ["fairlead._app -> asyncio", "fairlead._app -> httpx2"] == check.metadata["wrong"]


def test_exception_that_nobody_needs_breaks_the_contract() -> None:
    """An exception goes when its import goes."""
    graph = Graph({"fairlead._app": {"trio"}})
    options = {"packages": ["fairlead"], "allowed": ["trio"], "except_imports": ["fairlead._app -> httpx2"]}
    check = ThirdPartiesContract("x", {}, options).check(graph, verbose=False)
    assert not check.kept
    assert ["fairlead._app -> httpx2"] == check.metadata["stale"]


def test_no_room_is_left_out_of_the_contracts() -> None:
    """A new plugin is named in the contracts before it is merged."""
    packages = {room.package for room in ROOMS}
    others = packages - {"fairlead"}
    layers = [set(layer.split(" | ")) for layer in contract("rooms")["layers"]]
    assert packages == set(linter()["root_packages"])
    assert [others, {"fairlead"}] == layers
    assert others - set(contract("third-parties")["packages"]) == set(contract("no-asyncio")["source_modules"])


def test_every_module_of_the_core_has_its_floor() -> None:
    """The floors are exhaustive: a module without a place breaks the contract, and so does a place without a module."""
    floors = contract("floors")
    assert floors["exhaustive"] is True
    assert "exhaustive_ignores" not in floors
    assert not [layer for layer in floors["layers"] if "(" in layer], "an optional layer is a module that is gone"


def public_modules() -> list[str]:
    """The core's public modules, as the contract `public` lists them; `fairlead` itself is public too."""
    return sorted(line.removeprefix("** -> fairlead.") for line in contract("public")["ignore_imports"])


def test_public_modules_are_the_agreed_ones() -> None:
    """Everything else in the core is private, and has an underscore to say so."""
    found = {path.stem for path in CORE.source.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert public_modules() == sorted(name for name in found if not name.startswith("_"))


def test_core_has_exactly_six_dependencies() -> None:
    """Whoever embeds the core installs six libraries and what they need."""
    assert SIX == {Requirement(line).name for line in CORE.project["project"]["dependencies"]}


def test_core_imports_its_six_and_nothing_else() -> None:
    """Read from the syntax tree, so that it holds also where import-linter should be blind."""
    extra = set().union(*CORE.project["project"].get("optional-dependencies", {}).values())
    in_testing = CORE_IMPORTS | {Requirement(line).name for line in extra}
    faults = [
        f"{place(path, line)} imports {top}"
        for path in sources(CORE)
        for top, line in sorted(outside(path))
        if top not in (in_testing if "testing" in place(path) else CORE_IMPORTS)
    ]
    report(faults, "the core has six third parties: make it a plugin, or do without")


def test_nobody_imports_asyncio() -> None:
    """Structured concurrency on trio; uvicorn alone brings its own loop, in a thread of its own."""
    allowed = {line.partition(" -> ")[0] for line in contract("no-asyncio").get("ignore_imports", [])}
    faults = [
        f"{place(path, line)} imports {name}"
        for room in ROOMS
        for path in sources(room)
        for name, line in imports(path)
        if name.partition(".")[0] == "asyncio"
        and ".".join(path.relative_to(room.path / "src").with_suffix("").parts) not in allowed
    ]
    report(faults, "trio is the only event loop here")


@rooms
def test_room_declares_what_it_imports(room: Room) -> None:
    """A library that another one happens to bring along is declared by whoever imports it."""
    project = room.project["project"]
    lines = [
        *project["dependencies"],
        *(line for more in project.get("optional-dependencies", {}).values() for line in more),
    ]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    brought = {"referencing"} if room == CORE else LANGUAGE
    faults = [
        f"{place(path, line)} imports {top}"
        for path in sources(room)
        for top, line in sorted(outside(path))
        if not distributions().get(top, {top}) & (declared | brought)
    ]
    report(faults, f"name it in [project] dependencies of {room.name}/pyproject.toml")


@rooms
def test_room_uses_public_names_of_other_rooms_only(room: Room) -> None:
    """Also in its tests: if a plugin needs a private name of the core, the API is missing something."""
    faults = [
        f"{place(path, line)} imports {name}"
        for path in python_files(room.path)
        for name, line in imports(path)
        if is_ours(name.partition(".")[0]) and not may_import(room, name)
    ]
    report(faults, f"the core's public modules are fairlead and {public_modules()}")


def may_import(room: Room, name: str) -> bool:
    top, _, rest = name.partition(".")
    return top == room.package or (top == "fairlead" and not rest.startswith("_"))


def test_core_knows_no_plugin() -> None:
    """The core names no other room, not even in a string that could be imported."""
    others = [room.package for room in (SANDBOX, *PLUGINS)]
    faults = [
        f"{place(path)} names {package}"
        for path in sources(CORE)
        for package in others
        if package in path.read_text("utf-8")
    ]
    report(faults, "plugins are found by entry points and named by the configuration")
