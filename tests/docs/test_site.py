"""The documentation site builds without a warning, outside of the checkout, and fetches nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .blocks import DOCS, ROOT

CONFIG = DOCS / "web" / "mkdocs.yml"
LIMIT = 120
"""Seconds for what takes five, on a busy machine."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The site, and what the program said."""
    site = tmp_path_factory.mktemp("site")
    if subprocess.run([sys.executable, "-c", "import material"], capture_output=True, check=False).returncode:
        missing = "mkdocs-material is missing: uv sync --all-packages --all-groups"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    # The theme warns of the future of MkDocs, at every start and whatever the pages are.
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(
        [*command, "-f", CONFIG, "-d", site],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return site, done.stdout + done.stderr


def test_site_builds_without_a_warning(built: tuple[Path, str]) -> None:
    """Also of links, headings, and pages that the navigation lacks."""
    _, said = built
    assert [] == [line for line in said.splitlines() if re.match(r"(WARNING|ERROR)", line)]


def test_every_page_and_readme_is_in_the_site(built: tuple[Path, str]) -> None:
    """At the address that its place gives it."""
    site, _ = built
    pages = [path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")]
    rooms = [Path("rooms") / path.parent.name for path in (ROOT / "plugins").glob("*/README.md")]
    expected = [site / page / "index.html" for page in [*pages, *rooms] if page.name != "index"]
    assert [] == [str(path.relative_to(site)) for path in [site / "index.html", *expected] if not path.is_file()]


def test_site_fetches_nothing_from_elsewhere(built: tuple[Path, str]) -> None:
    """No fonts, scripts, styles or pictures of other hosts: it works offline, and tells nobody who reads it."""
    site, _ = built
    fetched = re.compile(
        r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//[^\s\">]+|<link[^>]+rel=\"?stylesheet[^>]+https?://"
    )
    assert [] == [found for page in site.rglob("*.html") for found in fetched.findall(page.read_text("utf-8"))]


def test_nothing_is_written_into_the_checkout() -> None:
    """Also where nobody says where to."""
    (line,) = re.findall(r"^site_dir: (.+)$", CONFIG.read_text("utf-8"), re.MULTILINE)
    assert not (CONFIG.parent / line).resolve().is_relative_to(ROOT)


def test_command_stands_in_contributing() -> None:
    """As it is run here."""
    assert "mkdocs build --strict -f docs/web/mkdocs.yml" in (DOCS / "contributing.md").read_text("utf-8")
