"""What pytest loads at every start, also where no test is about Fairlead: so it imports nothing.

In the wheel this file is the module `fairlead_pytest` beside the package, and the entry point leads there: importing
any module of a package imports the package, which would cost each run of pytest 100 ms.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import pytest

    from fairlead.testing._report import Report

__all__ = ["Gathered", "pytest_addoption", "pytest_collection_modifyitems", "pytest_configure"]

NAME = "fairlead-report"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option."""
    words = "write what became of each check of the conformance kits, as JSON"
    parser.getgroup("fairlead").addoption("--fairlead-report", metavar="FILE", default="", help=words)


def pytest_configure(config: pytest.Config) -> None:
    """Whoever asks for a report gets one, also of nothing."""
    if config.getoption("fairlead_report"):
        _report(config)
    elif config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Gathered(config))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The report begins with the first check of a kit."""
    classes = {getattr(item, "cls", None) for item in items}
    bases = (base for each in classes if each is not None for base in each.__mro__)
    if any(base.__module__.startswith("fairlead.testing.") for base in bases):
        _report(config)


class Gathered:
    """Where other processes run the tests (pytest-xdist), none is collected here: checks show as they arrive."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        """The report begins with the first check, which it would otherwise miss."""
        if not any(name == "fairlead" for name, _ in report.user_properties):
            return None
        self._config.pluginmanager.unregister(self)
        begun = _report(self._config)
        begun.pytest_runtest_logreport(report)
        return begun.pytest_report_teststatus(report)


def _report(config: pytest.Config) -> Report:
    from fairlead.testing._report import Report  # noqa: PLC0415  # see above

    found: Report | None = config.pluginmanager.get_plugin(NAME)
    if found is None:
        found = Report(config)
        config.pluginmanager.register(found, NAME)
    return found
