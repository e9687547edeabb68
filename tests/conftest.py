"""What the tests of the whole share: the wheels of the workspace, built once, and fresh environments for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import pytest

from .workspace import OURS, Environment, build, create_environment, export_third_parties, install_wheels

if TYPE_CHECKING:
    from pathlib import Path


class MakeEnvironment(Protocol):
    """Makes a fresh environment with locked third parties and these distributions from the wheelhouse."""

    def __call__(self, *distributions: str) -> Environment: ...


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an sdist and a wheel of every distribution of the workspace; the wheels come from the sdists."""
    return build(tmp_path_factory.mktemp("wheelhouse"))


@pytest.fixture(scope="session")
def third_parties(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of requirements with everything that the workspace needs from others."""
    return export_third_parties(tmp_path_factory.mktemp("third-parties") / "requirements.txt")


@pytest.fixture(scope="session")
def make_environment(
    wheelhouse: Path, third_parties: Path, tmp_path_factory: pytest.TempPathFactory
) -> MakeEnvironment:
    """Make fresh environments, by default with every distribution of the workspace."""

    def make(*distributions: str) -> Environment:
        environment = create_environment(tmp_path_factory.mktemp("environment"), third_parties)
        install_wheels(environment, wheelhouse, *(distributions or OURS))
        return environment

    return make


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where CI is set nothing may be missing: a test that was skipped for want of an engine fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("")
        reporter.write_line("In CI nothing may be missing, and tests were skipped: the run has failed.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
