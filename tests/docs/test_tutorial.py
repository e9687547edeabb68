"""Pages that make projects and install them, followed from top to end in an environment made for it."""

from __future__ import annotations

import os
import shlex
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

from ..house.test_size import code_lines
from ..workspace import Environment, run, uv
from .blocks import DOCS, FRESH, Block, blocks
from .reader import Reader
from .test_pages import named

if TYPE_CHECKING:
    from pathlib import Path

    from ..conftest import MakeEnvironment

pytestmark = pytest.mark.packaging

AUTHOR_HAS = ("pytest", "pytest-trio", "hypothesis", "hatchling", "mypy")
"""Beside Fairlead: the extra ``fairlead-core[testing]``, what builds a project, and what `fairlead check` asks for."""
CHANNEL = DOCS / "tutorial" / "first-channel.md"
MOST_LINES = 100


class Newcomer(Reader):
    """A reader with an environment of his own, where he may install and remove."""

    limit = 150.0

    def __init__(self, directory: Path, environment: Environment) -> None:
        super().__init__(directory, environment.bin)
        self._interpreter = environment.python
        passed = {name: os.environ[name] for name in os.environ if name.startswith(("UV_", "SSL_", "PIP_"))}
        self._variables |= {"UV_CACHE_DIR": uv("cache", "dir").strip(), **passed}

    def _type(self, command: str, block: Block, expected: int = 0) -> str:
        """As a reader of an environment made by uv types it; what Fairlead needs is there, and not on an index."""
        if not command.startswith("pip "):
            return super()._type(command, block, expected)
        _, act, *options = shlex.split(command)
        options = ["--no-deps", *(each for each in options if each != "-y")] if act == "install" else options[1:]
        run(find_uv_bin(), "pip", act, "--quiet", "--python", self._interpreter, *options, cwd=self.directory)
        return ""


@pytest.fixture(scope="module")
def environment(make_environment: MakeEnvironment) -> Environment:
    made = make_environment()
    uv("pip", "install", "--quiet", "--python", made.python, *(f"{name}=={version(name)}" for name in AUTHOR_HAS))
    return made


@pytest.mark.parametrize("page", FRESH, ids=named)
def test_page_does_what_it_shows(page: Path, environment: Environment, tmp_path: Path) -> None:
    """Every file is saved and every command typed, in their order, and each shows what the page says."""
    reader = Newcomer(tmp_path, environment)
    try:
        for block in blocks(page):
            reader.do(block)
    finally:
        reader.close()


def test_channel_of_the_tutorial_is_short() -> None:
    """The code of its wheel has fewer lines than anybody fears."""
    (plugin,) = (block.text for block in blocks(CHANNEL) if block.file.endswith("plugin.py"))
    assert code_lines(plugin) < MOST_LINES
