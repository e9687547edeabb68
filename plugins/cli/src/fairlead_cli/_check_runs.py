"""What can only be said of a plugin that runs: in processes of its own, and never in this one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from fairlead_cli._check_rules import APPLIES, LOAD_SECONDS, OWN_TESTS, Outcome
from fairlead_cli._check_subject import Subject, environment, installer, run
from fairlead_cli._failures import Refused

__all__ = ["Place", "fresh_place", "look_at_runs", "nothing_ran"]

_IMPORT = """
import importlib, json, sys, time
from functools import reduce
import pluggy, fairlead.events, fairlead.memory, fairlead.wire, fairlead.types
from fairlead import hookspecs
where, points = sys.argv[1], json.loads(sys.argv[2])
found = []
for module, attributes in points:
    began = time.process_time()
    problem, hooks = "", []
    try:
        plugin = reduce(getattr, filter(None, attributes.split(".")), importlib.import_module(module))
        took = time.process_time() - began
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin)
        manager.check_pending()
        hooks = [caller.name for caller in manager.get_hookcallers(plugin) or ()]
    except BaseException as error:
        problem, took = f"{type(error).__name__}: {error}", time.process_time() - began
    found.append([problem, hooks, took, getattr(sys.modules.get(module), "__file__", None)])
open(where, "w").write(json.dumps(found))
"""
_COUNTING = """
import json, os

counts = {}


def pytest_runtest_logreport(report):
    if report.when == "call" or not report.passed:
        counts[report.nodeid] = report.outcome


def pytest_sessionfinish():
    found = list(counts.values())
    with open(os.environ["FAIRLEAD_CHECK_COUNTS"], "w") as file:
        json.dump([len(found), found.count("skipped")], file)


def pytest_collection_modifyitems(items):
    if os.environ["FAIRLEAD_CHECK_ORDER"] == "reversed":
        items.reverse()
"""
_KITS = {
    "channels": {"channel"},
    "tools": {"tool"},
    "providers": {"provider"},
    "memories": {"memory", "journal", "recall"},
    "policies": {"policy"},
}
_MODULE = "fairlead_check_counts"
_SECONDS = 600
"""For all tests."""
_ENOUGH = 5
"""Failures after which the others are not waited for: what is broken so badly may take its time in each."""
_END = 1500
"""Characters of what a program said at its end."""
RUNS = ("loads", "thin", "kit", "tests", "own-tests", "far-side", "repeatable", "strict")
"""The rules that need it to run."""


@frozen
class Place:
    """Where it runs: a Python with the core and what its tests need."""

    python: Path
    work: Path
    """For files; it is removed at the end."""


@frozen
class Tests:
    """What became of one run of its tests."""

    checks: Sequence[Mapping[str, str]] = ()
    """Of the kits, as ``pytest --fairlead-report`` has them."""
    total: int = 0
    skipped: int = 0
    problem: str = ""
    """What went wrong, at the end of what pytest said."""


def nothing_ran(why: str, *rules: str) -> Iterator[Outcome]:
    """The rules that nobody has looked at."""
    for rule in rules or RUNS:
        yield Outcome(rule, ok=False, seen=f"not looked at: {why}", next_step="fairlead check PATH")


def fresh_place(wheel: Path, work: Path, options: Sequence[str]) -> Place:
    """An environment made for this: the plugin with all that it needs, and what the kits need. `Refused`."""
    path = work / "environment"
    tool, python = installer(), path / "bin" / "python"
    steps = (
        tool.create(path),
        tool.install(python, [str(wheel), "fairlead-core[testing]", "mypy"], options),
    )
    for command in steps:
        done = run(command, work, environment(work), _SECONDS)
        if done.code:
            again = "name a directory of wheels with --find-links, or leave --fresh out"
            raise Refused(f"the environment cannot be made: {done.said.strip()[-_END:]}", next_step=again)
    return Place(python, work)


def look_at_runs(subject: Subject, place: Place) -> Iterator[Outcome]:
    """All rules on what it does."""
    kinds = {point.kind for point in subject.points}
    yield from _imported(subject, place, kinds)
    if subject.tests is None:
        yield from nothing_ran("there are no tests; a wheel has none: --tests DIR", *RUNS[2:7])
    else:
        yield from _tested(subject, place, subject.tests, kinds)
    yield _strict(subject, place)


def _env(subject: Subject, place: Place) -> dict[str, str]:
    return environment(place.work, subject.site, place.work)


def _imported(subject: Subject, place: Place, kinds: set[str]) -> Iterator[Outcome]:
    """Takes out of `kinds` those of which it makes no worker: it only observes."""
    result = place.work / "imported.json"
    points = json.dumps([point.value.replace(" ", "").partition(":")[::2] for point in subject.points])
    command = [str(place.python), "-c", _IMPORT, str(result), points]
    done = run(command, place.work, _env(subject, place), 60)
    try:
        found = json.loads(result.read_text("utf-8"))
    except (OSError, ValueError):
        problem = f"the process ended with {done.code}: {done.said.strip()[-_END:]}"
        yield Outcome("loads", ok=False, seen=problem, next_step="import it by hand")
        yield from nothing_ran("it does not load", "thin")
        return
    faults, slow = [], []
    for point, (problem, hooks, took, file) in zip(subject.points, found, strict=True):
        if problem:
            faults.append(f"{point.label}: {problem}")
        elif file and not Path(file).is_relative_to(subject.site):
            faults.append(f"{point.label}: another copy was imported, {file}")
        elif hooks == ["fairlead_observers"]:
            kinds.discard(point.kind)
        elif f"fairlead_{point.kind}" not in hooks:
            faults.append(f"{point.label}: it has no hook fairlead_{point.kind}; it has {', '.join(hooks) or 'none'}")
        if took > LOAD_SECONDS:
            slow.append(f"{point.label} takes {took:.2f} s of a processor")
    name = subject.name
    mend = f"pip install {name} here, with all that it needs" if "ModuleNotFoundError" in str(faults) else ""
    yield Outcome("loads", not faults, "; ".join(faults), mend or ("mend the entry point" if faults else ""))
    yield Outcome("thin", not slow, "; ".join(slow), "import what is heavy in open()" if slow else "")


def _tested(subject: Subject, place: Place, tests: Path, kinds: set[str]) -> Iterator[Outcome]:
    first = _pytest(subject, place, tests)
    if not first.total:
        mend = "pip install 'fairlead-core[testing]'" if "No module named pytest" in first.problem else "pytest"
        for rule in RUNS[2:7]:
            yield Outcome(rule, ok=False, seen=first.problem or "pytest found no test", next_step=mend)
        return
    yield _kit(kinds, first)
    broken = [each for each in first.checks if each["outcome"] == "broken"]
    others = bool(first.problem) and not broken
    yield Outcome("tests", not others, first.problem if others else "", "pytest" if others else "")
    own = first.total - len(first.checks)
    lacks = f"it has {own}" if own < OWN_TESTS else f"{first.skipped} are skipped" if first.skipped else ""
    yield Outcome("own-tests", not lacks, lacks, "write a test for each thing that it does" if lacks else "")
    idle = [each for each in first.checks if each["outcome"] == "does not apply"]
    far = bool(first.checks or not kinds) and len(idle) * APPLIES <= len(first.checks)
    reasons = ", ".join(dict.fromkeys(each["seen"] for each in idle))[:_END]
    seen = f"{len(idle)} of {len(first.checks)} do not apply: {reasons}"
    yield Outcome("far-side", far, "" if far else seen, "" if far else "override more hooks of the kit")
    if first.problem:
        yield from nothing_ran("the tests fail already", "repeatable")
        return
    second = _pytest(subject, place, tests, "-X", "dev", order="reversed")
    mend = "pytest, and look for what tests share" if second.problem else ""
    yield Outcome("repeatable", not second.problem, second.problem, mend)


def _kit(kinds: set[str], tests: Tests) -> Outcome:
    """Each kind has its class, and all promises are kept."""
    tested = {each["kind"] for each in tests.checks}
    lacking = sorted(kind for kind in kinds if not _KITS[kind] & tested)
    if lacking:
        names = ", ".join(lacking)
        mend = "subclass the class of fairlead.testing in three lines: fairlead new shows how"
        return Outcome("kit", ok=False, seen=f"no conformance class is tested for: {names}", next_step=mend)
    bad = [each for each in tests.checks if each["outcome"] in ("broken", "skipped")]
    told = [
        f"{each['check']}: {each['promise']} (documented in {each['documented']}; seen: {each['seen'][:200]})"
        for each in bad[:5]
    ]
    more = f" and {len(bad) - len(told)} more" if len(bad) > len(told) else ""
    kept = f"{sum(each['outcome'] == 'kept' for each in tests.checks)} checks kept"
    return Outcome("kit", not bad, "; ".join(told) + more or kept, "pytest -k Test" if bad else "")


def _pytest(subject: Subject, place: Place, tests: Path, *python: str, order: str = "") -> Tests:
    report, counts = place.work / "report.json", place.work / "counts.json"
    for file in (report, counts):
        file.unlink(missing_ok=True)
    (place.work / f"{_MODULE}.py").write_text(_COUNTING, "utf-8")
    options = ["-q", "-p", "no:cacheprovider", "-p", _MODULE, f"--fairlead-report={report}"]
    options += [f"--maxfail={_ENOUGH}", f"--basetemp={place.work / 'temporary'}"]
    env = {**_env(subject, place), "FAIRLEAD_CHECK_COUNTS": str(counts), "FAIRLEAD_CHECK_ORDER": order}
    done = run([str(place.python), *python, "-m", "pytest", str(tests), *options], tests.parent, env, _SECONDS)
    said = done.said.strip()[-_END:]
    try:
        checks = json.loads(report.read_text("utf-8"))
        total, skipped = json.loads(counts.read_text("utf-8"))
    except (OSError, ValueError):
        if "--fairlead-report" in said:
            said = "the kits there write no report: pip install --upgrade 'fairlead-core[testing]'"
        return Tests(problem=said or f"pytest ended with {done.code}")
    idle = sum(each["outcome"] == "does not apply" for each in checks)
    return Tests(checks, total, max(0, skipped - idle), said if done.code else "")


def _strict(subject: Subject, place: Place) -> Outcome:
    packages = [option for each in subject.packages() for option in ("-p", each)]
    options = ["--strict", "--no-incremental", "--cache-dir", str(place.work / "mypy"), *packages]
    env = {**environment(place.work), "MYPYPATH": str(subject.site)}
    done = run([str(place.python), "-m", "mypy", *options], place.work, env, 300)
    if "No module named mypy" in done.said:
        return Outcome("strict", ok=False, seen="mypy is not installed here", next_step="pip install mypy")
    if done.code:
        return Outcome("strict", ok=False, seen=done.said.strip()[-_END:], next_step="mypy --strict src")
    return Outcome("strict", ok=True)


def this_place(work: Path) -> Place:
    """The environment of this program: it has the core; the plugin comes from the wheel."""
    return Place(Path(sys.executable), work)
