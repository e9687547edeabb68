"""What can be said of a plugin without running any of it: its metadata, its manifest, and the form of its code."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import fairlead
from fairlead.errors import SchemaError
from fairlead.hookspecs import API_VERSION
from fairlead.plugins import serves
from fairlead.wire import build_validator, check
from fairlead_cli._check_rules import Outcome
from fairlead_cli._check_subject import Point, Subject

__all__ = ["look_at_code", "look_at_metadata"]

_PUBLIC = {module.name for module in pkgutil.iter_modules(fairlead.__path__) if not module.name.startswith("_")}
_BLOCKING = {
    "input",
    "os.system",
    "socket.create_connection",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "subprocess.run",
    "time.sleep",
    "urllib.request.urlopen",
}
_BLOCKING_TOPS = {"requests"}
_NETWORK = {
    "aiohttp",
    "aiosmtplib",
    "boto3",
    "ftplib",
    "h11",
    "http",
    "httpx",
    "httpx2",
    "imaplib",
    "requests",
    "smtplib",
    "socket",
    "ssl",
    "urllib3",
    "websocket",
    "websockets",
}
_PLACES = re.compile(r"(host|url|server|address|port|endpoint|homeserver|listen)", re.IGNORECASE)
_SHOWN = 5
"""How many places of one kind are told."""


def look_at_metadata(subject: Subject) -> Iterator[Outcome]:
    """All rules on what the wheel says of itself."""
    points = subject.points
    strays = [
        point.value for point in points if point.value.partition(".")[0].partition(":")[0] not in subject.packages()
    ]
    yield _outcome(
        "entry-point", strays if points else ["it has none"], 'write [project.entry-points."fairlead.tools"]'
    )
    yield _outcome("manifest", _each(points, _manifest_fault), "fairlead schema plugin-manifest")
    yield _outcome("api", _each(points, _api_fault), f'write "api": "{API_VERSION}" into fairlead-plugin.json')
    yield _outcome("settings", _each(points, _settings_fault), "mend `settings` in fairlead-plugin.json")
    mend = "add it to [project] in pyproject.toml"
    yield _outcome("metadata", [f"it lacks {each}" for each in _lacking(subject)], mend)
    yield _outcome(
        "described", _each(points, _description_fault), "write `description` and a matching `default` for each setting"
    )
    stages = [
        f"{point.label} is {_of(point, 'stage', 'experimental')}" for point in points if _of(point, "stage") != "stable"
    ]
    yield _outcome("stable", stages, 'write "stage": "stable" once it is')
    floors = [f"{point.label} does not say it" for point in points if not _of(point, "isolation")]
    yield _outcome("floor", floors, 'write "isolation": "process" into fairlead-plugin.json')
    readme = _readme(subject)
    untold = [
        f"{point.label}: {key}"
        for point in points
        for key in _keys(point)
        if not re.search(rf"\b{re.escape(key)}\b", readme)
    ]
    yield _outcome("readme", untold, "name each setting and what it means in README.md")
    version = subject.version
    yield _outcome(
        "released",
        [f"it is {version}"] if re.match(r"0([.a-z]|$)", version) else [],
        "release 1.0 when its users can rely on it",
    )
    patterns = [f"{point.label}: {host}" for point in points for host in _of(point, "hosts", ()) if "*" in str(host)]
    yield _outcome("exact-hosts", patterns, "name each host by itself")


def look_at_code(subject: Subject) -> Iterator[Outcome]:
    """All rules on the form of its files; none of them is imported."""
    sources, private, foreign, blocking, bare = subject.sources(), list[str](), list[str](), list[str](), list[str]()
    runtimes = {_of(point, "runtime", "trio") for point in subject.points}
    loops = {"asyncio", "trio"} - runtimes
    network = False
    for path in sources:
        place = path.relative_to(subject.site).as_posix()
        try:
            tree = _parse(path)
        except (SyntaxError, ValueError) as error:
            private.append(f"{place} is no Python: {error}")
            continue
        for name, line in _imports(tree):
            top = name.partition(".")[0]
            network = network or top in _NETWORK
            if not _is_public(name):
                private.append(f"{place}:{line} imports {name}")
            if top in loops and len(runtimes) == 1 and not _has_thread(tree):
                foreign.append(f"{place}:{line} imports {top}, and its runtime is {min(runtimes)}")
        blocking += [f"{place}:{line} calls {name} in an async function" for name, line in _blocking(tree)]
        bare += [f"{place}:{line} {name}" for name, line in _untyped(tree)]
    typed = [each for each in subject.packages() if not (subject.site / each / "py.typed").is_file()]
    yield _outcome(
        "public-names", private, "use fairlead, fairlead.errors, .events, .hookspecs, .memory, .types and the like"
    )
    yield _outcome("typed", [f"{each} has no py.typed" for each in typed] + bare, "add py.typed, and annotations")
    yield _outcome("loop", foreign + blocking, "await trio's own, or trio.to_thread.run_sync(...)")
    silent = [
        point.label
        for point in subject.points
        if not _of(point, "hosts", ()) and not any(map(_PLACES.search, _keys(point)))
    ]
    yield _outcome("reach", silent if network else [], 'write "hosts" into fairlead-plugin.json')


def _readme(subject: Subject) -> str:
    metadata: Any = subject.distribution.metadata
    return str(metadata.get_payload() or metadata.get("Description") or "")


def _lacking(subject: Subject) -> list[str]:
    """What the metadata of a wheel should have, and this one has not."""
    metadata: Any = subject.distribution.metadata
    licensed = metadata.get("License-Expression") or metadata.get("License")
    classified = any("License ::" in each for each in metadata.get_all("Classifier") or ())
    texts = [file for file in subject.distribution.files or () if "licen" in str(file).lower()]
    there = {
        "a summary": metadata.get("Summary"),
        "a README": _readme(subject).strip(),
        "a licence": licensed or classified,
        "the text of its licence": texts,
        "requires-python": metadata.get("Requires-Python"),
    }
    return [name for name, found in there.items() if not found]


def _outcome(rule: str, faults: Iterable[str], mend: str) -> Outcome:
    found = list(faults)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return Outcome(rule, not found, "; ".join(found[:_SHOWN]) + more, mend if found else "")


# -- manifests


def _of(point: Point, key: str, default: Any = None) -> Any:
    return point.manifest.get(key, default) if isinstance(point.manifest, Mapping) else default


def _each(points: Iterable[Point], fault: Any) -> list[str]:
    return [f"{point.label}: {problem}" for point in points for problem in fault(point)]


def _manifest_fault(point: Point) -> Iterator[str]:
    if point.manifest is None:
        yield "it has no fairlead-plugin.json beside its module, or in a package above"
        return
    if isinstance(point.manifest, str):
        yield point.manifest
        return
    try:
        check("plugin-manifest", point.manifest)
    except SchemaError as error:
        yield error.problem


def _api_fault(point: Point) -> Iterator[str]:
    wanted = _of(point, "api")
    if not isinstance(wanted, str) or not serves(wanted):
        yield f"it needs version {wanted} of the plugin API; this core offers {API_VERSION}"


def _schema(point: Point) -> Mapping[str, Any]:
    found = _of(point, "settings")
    return found if isinstance(found, Mapping) else {}


def _keys(point: Point) -> list[str]:
    properties = _schema(point).get("properties")
    return list(properties) if isinstance(properties, Mapping) else []


def _settings_fault(point: Point) -> Iterator[str]:
    schema = _schema(point)
    if not schema:
        return
    try:
        build_validator(schema)
    except SchemaError as error:
        yield f"{error.problem} (/{error.path})"
        return
    if schema.get("type") != "object":
        yield "its settings are no object"
    for word, named in (("secret", _of(point, "secrets", ())), ("required key", schema.get("required", ()))):
        yield from (f"the {word} {key!r} is no setting" for key in named if key not in _keys(point))


def _description_fault(point: Point) -> Iterator[str]:
    for key in _keys(point):
        about = _schema(point)["properties"][key]
        if not isinstance(about, Mapping) or not str(about.get("description", "")).strip():
            yield f"{key} has no description"
        elif "default" in about:
            try:
                right = build_validator(about).is_valid(about["default"])
            except SchemaError:
                right = True  # it refers to the schema around it, which `settings` has looked at
            if not right:
                yield f"the default of {key} does not match its schema"


# -- code


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def _imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _is_public(name: str) -> bool:
    """Of the core only; other packages are no matter of ours."""
    top, *rest = name.split(".")
    if top != "fairlead" or not rest:
        return True
    return not any(part.startswith("_") for part in rest) and (len(rest) == 1 or rest[0] in _PUBLIC)


def _blocking(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for function in ast.walk(tree):
        if isinstance(function, ast.AsyncFunctionDef):
            for node in _own(function):
                if isinstance(node, ast.Call) and _blocks(name := ast.unparse(node.func)):
                    yield name, node.lineno


def _has_thread(tree: ast.Module) -> bool:
    """Whether a module starts a thread: another loop may run there, and stops nothing here."""
    calls = (ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(name in ("threading.Thread", "Thread") for name in calls)


def _blocks(name: str) -> bool:
    return name in _BLOCKING or name.partition(".")[0] in _BLOCKING_TOPS


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """What runs in the function itself, and not in one that it makes."""
    for node in ast.iter_child_nodes(function):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _own(node)


def _untyped(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Functions that leave out a type."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            listed = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
            untyped = [one.arg for one in listed if one.annotation is None and one.arg not in ("self", "cls")]
            if untyped or (node.returns is None and node.name != "__init__"):
                yield f"{node.name}() lacks the type of {', '.join(untyped) or 'its result'}", node.lineno
