"""What became of each check of the kits: shown at the end of a run, and written for programs."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import asdict, frozen

from fairlead.testing._applies import DOES_NOT_APPLY, DoesNotApply

__all__ = ["Kept", "Report"]

Outcome = Literal["kept", "broken", "does not apply", "skipped"]
BROKEN = re.compile(r"broken promise: (.*?)\n  documented in: (.*?)\n  seen: (.*)", re.DOTALL)
SOURCE = re.compile(r"fairlead\.[A-Za-z_.]+")
PROPERTY = "fairlead"
"""Under this name a test's report carries what is said of it, also from another process to this one."""
DOCUMENTED = {
    "channel": "fairlead.Channel",
    "provider": "fairlead.Provider",
    "tool": "fairlead.Tool",
    "memory": "fairlead.Memory",
    "journal": "fairlead.memory.Journal",
    "recall": "fairlead.memory.Recall",
    "policy": "fairlead.Policy",
}


@frozen
class Kept:
    """One check of one class. The keys of the report: ``class``, then these."""

    name: str
    """The class, with its file."""
    kind: str
    """``provider``, ``tool``; of a memory's one facet ``journal`` or ``recall``."""
    check: str
    outcome: Outcome
    promise: str
    """What is promised; where it was broken, in the words of the contract."""
    documented: str
    seen: str
    """Where it was broken, what was seen instead; where it does not apply or was skipped, why."""

    def plain(self) -> dict[str, str]:
        """As it stands in the report."""
        found = asdict(self)
        return {"class": found.pop("name"), **found}


class Report:
    """The part of the plugin that is there where checks are."""

    def __init__(self, config: pytest.Config) -> None:
        # A process of pytest-xdist, which runs some of the tests, tells the one that has all.
        self._file = "" if hasattr(config, "workerinput") else str(config.getoption("fairlead_report"))
        self._verbose = config.get_verbosity() > 0
        self._found: list[Kept] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Say of a check what became of it."""
        report = yield
        kind = _kind_of(item)
        if kind and (report.when == "call" or (report.when == "setup" and not report.passed)):
            error = call.excinfo.value if call.excinfo is not None else None
            kept = _judged(item, kind, report, error)
            if kept.outcome == "does not apply" and isinstance(report.longrepr, tuple):
                path, line, _ = report.longrepr
                report.longrepr = (path, line, f"Skipped: {DOES_NOT_APPLY}{kept.seen}")
            report.user_properties.append((PROPERTY, kept.plain()))
        return report

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        """A check that does not apply is not a test that was skipped."""
        found = _said(report)
        if found is None or found["outcome"] != "does not apply":
            return None
        return "does not apply", "n", ("DOES NOT APPLY", {"yellow": True})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep it."""
        found = _said(report)
        if found is not None and (report.when == "call" or not report.passed):
            self._found.append(Kept(found["class"], **{key: found[key] for key in found if key != "class"}))  # type: ignore[arg-type]  # made by `plain`

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        if self._file:
            found = [kept.plain() for kept in self._found]
            Path(self._file).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """A line for each class, and a line for each promise that was broken."""
        if not self._found:
            return
        terminalreporter.section("promises" + ("" if self._verbose else " (-v: why some do not apply)"))
        for name in dict.fromkeys(kept.name for kept in self._found):
            mine = [kept for kept in self._found if kept.name == name]
            broken = [kept for kept in mine if kept.outcome == "broken"]
            line = f"{name} ({mine[0].kind}): {_counted(mine)}"
            terminalreporter.write_line(line, red=bool(broken), green=not broken)
            for kept in broken:
                terminalreporter.write_line(f"    broken: {kept.check}: {kept.promise.splitlines()[0]}")
            for why in dict.fromkeys(kept.seen for kept in mine if kept.outcome == "does not apply" and self._verbose):
                checks = [kept.check for kept in mine if kept.seen == why]
                terminalreporter.write_line(f"    {why}: {', '.join(checks)}")


def _counted(found: list[Kept]) -> str:
    counts = {outcome: sum(kept.outcome == outcome for kept in found) for outcome in ("kept", "does not apply")}
    more = {outcome: sum(kept.outcome == outcome for kept in found) for outcome in ("skipped", "broken")}
    shown = [f"{count} {outcome}" for outcome, count in counts.items()]
    return ", ".join((*shown, *(f"{count} {outcome}" for outcome, count in more.items() if count)))


def _kind_of(item: pytest.Item) -> str:
    """The kind whose promise it is; empty for a test that is no check of a kit."""
    cls, name = getattr(item, "cls", None), getattr(item, "originalname", item.name)
    bases = [base for base in getattr(cls, "__mro__", ()) if base.__module__.startswith("fairlead.testing.")]
    if not any(name in vars(base) for base in bases):
        return ""
    kits = [
        base.__name__.removesuffix("Conformance").lower() for base in bases if base.__name__.endswith("Conformance")
    ]
    return next((kit for kit in kits if kit in DOCUMENTED), "")


def _judged(item: pytest.Item, kind: str, report: pytest.TestReport, error: BaseException | None) -> Kept:
    check, function = item.name, getattr(getattr(item, "cls", None), getattr(item, "originalname", item.name))
    said = f"{_sentence(check)}. {(function.__doc__ or '').strip().partition(chr(10))[0]}".strip()
    kept = Kept(item.nodeid.rpartition("::")[0], kind, check, "kept", said, _sources(function) or DOCUMENTED[kind], "")
    leaves = list(_leaves(error)) if error is not None else []
    if report.passed and not hasattr(report, "wasxfail"):
        return kept
    if (reason := next((str(each.msg) for each in leaves if isinstance(each, DoesNotApply)), None)) is not None:
        return _with(kept, "does not apply", seen=reason.removeprefix(DOES_NOT_APPLY))
    if report.skipped and not hasattr(report, "wasxfail"):
        return _with(kept, "skipped", seen=str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "")
    for each in leaves:
        if (match := BROKEN.search(str(each))) is not None:
            return Kept(kept.name, kind, check, "broken", match[1], match[2], match[3])
    return _with(kept, "broken", seen=repr(leaves[0] if leaves else error))


def _with(kept: Kept, outcome: Outcome, seen: str) -> Kept:
    return Kept(kept.name, kept.kind, kept.check, outcome, kept.promise, kept.documented, seen)


def _sources(check: Any) -> str:
    """Where the promises of a check are documented: the names that it hands to `promise`."""
    code = inspect.unwrap(check).__code__
    known = (inspect.unwrap(check).__globals__.get(name) for name in code.co_names)
    found = (each for each in (*known, *code.co_consts) if isinstance(each, str) and SOURCE.fullmatch(each))
    return ", ".join(dict.fromkeys(found))


def _sentence(check: str) -> str:
    return check.removeprefix("test_").replace("_", " ").capitalize()


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group. pytest-trio raises a skip of its own for one that stands alone in a group."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    elif isinstance(error, pytest.skip.Exception) and isinstance(error.__context__, BaseExceptionGroup):
        yield from _leaves(error.__context__)
    else:
        yield error


def _said(report: pytest.TestReport) -> dict[str, str] | None:
    return next((value for name, value in report.user_properties if name == PROPERTY), None)  # type: ignore[return-value]  # ours
