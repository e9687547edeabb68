"""The pytest plugin: what became of each promise, at the end of a run and as a file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = """
import pytest
from fairlead.testing import CountingTool, ScriptedProvider, ProviderConformance, ToolConformance


class TestCounting(ToolConformance):
    async def make_worker(self, tmp_path):
        return CountingTool("my tool")

    async def test_of_the_author(self, tmp_path):
        pass


class TestScript(ProviderConformance):
    async def make_worker(self, tmp_path):
        return ScriptedProvider(["hello"], repeat=True)


def test_of_something_else():
    pytest.skip("another reason")
"""


@pytest.fixture(params=[(), ("-n", "2", "--dist", "loadgroup")], ids=["in one process", "in two"])
def ran(tmp_path: Path, request: pytest.FixtureRequest) -> subprocess.CompletedProcess[str]:
    """A run of pytest over an author's tests, with the plugin as it is here."""
    return run(tmp_path, *request.param, "--fairlead-report", "report.json")


def run(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_acme.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:fairlead", "-p", "fairlead.testing._pytest"]
    checks = "names_are or not_repeated or of_the_author or finish_says_stop or something_else"
    more = ["-v", "-rs", "-k", checks, "-p", "no:cacheprovider", *options]
    return subprocess.run([*command, *more], cwd=directory, capture_output=True, text=True, check=False)


def kept(ran: subprocess.CompletedProcess[str], tmp_path: Path) -> list[dict[str, Any]]:
    assert (tmp_path / "report.json").is_file(), ran.stdout + ran.stderr
    found: list[dict[str, Any]] = json.loads((tmp_path / "report.json").read_text("utf-8"))
    return found


def test_report_has_each_check_of_the_kits(ran: subprocess.CompletedProcess[str], tmp_path: Path) -> None:
    """And no test of the author's own."""
    found = {each["check"]: each for each in kept(ran, tmp_path)}
    outcomes = {check: (each["kind"], each["outcome"]) for check, each in found.items()}
    expected = {
        "test_names_are_such_as_every_provider_accepts": ("tool", "broken"),
        "test_request_is_not_repeated": ("provider", "does not apply"),
        "test_finish_says_stop": ("provider", "kept"),
    }
    assert expected == outcomes
    keys = ["class", "kind", "check", "outcome", "promise", "documented", "seen"]
    assert [keys] * 3 == [list(each) for each in found.values()]


def test_report_says_what_was_promised_and_seen(ran: subprocess.CompletedProcess[str], tmp_path: Path) -> None:
    """Where it was broken in the words of the contract; where it does not apply, why."""
    found = {each["outcome"]: each for each in kept(ran, tmp_path)}
    assert "test_acme.py::TestCounting" == found["broken"]["class"]
    assert "a name has letters, digits, _ and -, at most 64" == found["broken"]["promise"]
    assert "fairlead.ToolSpec" == found["broken"]["documented"]
    assert "my tool" in found["broken"]["seen"]
    assert "only a server of the kit's counts requests: set `wire`" == found["does not apply"]["seen"]
    assert "Finish says stop. An answer without calls did not finish with tools." == found["kept"]["promise"]
    assert "fairlead.ModelRequest, fairlead.ModelAnswer" == found["kept"]["documented"]


def test_run_ends_with_a_line_for_each_class(ran: subprocess.CompletedProcess[str]) -> None:
    """What does not apply is no skipped test; a test that was skipped is."""
    assert "test_acme.py::TestCounting (tool): 0 kept, 0 does not apply, 1 broken" in ran.stdout
    assert "    broken: test_names_are_such_as_every_provider_accepts: a name has letters" in ran.stdout
    assert "test_acme.py::TestScript (provider): 1 kept, 1 does not apply" in ran.stdout
    assert "set `wire`: test_request_is_not_repeated" in ran.stdout
    assert "1 skipped" in ran.stdout
    assert "1 does not apply" in ran.stdout
    assert "another reason" in ran.stdout


def test_processes_that_share_the_tests_need_not_be_asked_for_a_report(tmp_path: Path) -> None:
    """Where no file is wanted, the lines at the end and the counts are the same."""
    last = run(tmp_path, "-n", "2").stdout.splitlines()[-1]
    assert "1 failed, 2 passed, 1 skipped, 1 does not apply" in last


def test_run_without_a_kit_is_as_before(tmp_path: Path) -> None:
    """Nothing is imported, and nothing is shown."""
    (tmp_path / "test_other.py").write_text(
        "import sys\n\n\ndef test_it():\n    assert 'fairlead.testing._report' not in sys.modules\n"
    )
    plugin = tmp_path / "fairlead_pytest.py"
    plugin.write_text(Path(__file__).parents[1].joinpath("src/fairlead/testing/_pytest.py").read_text())
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:fairlead", "-p", "fairlead_pytest"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "promises" not in done.stdout


def test_plugin_imports_nothing(tmp_path: Path) -> None:
    """Every run of pytest in an environment with Fairlead pays for it."""
    source = Path(__file__).parents[1] / "src/fairlead/testing/_pytest.py"
    (tmp_path / "fairlead_pytest.py").write_text(source.read_text("utf-8"))
    program = "import sys; before = set(sys.modules); import fairlead_pytest; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "['__future__', 'fairlead_pytest']" == done.stdout.strip()
