"""The pages of the documentation, their code blocks, and what a reader would do with each of them.

A block may have an HTML comment directly before it, which readers do not see:

    <!-- not run: WHY -->     nothing is done with it; at most `NOT_RUN` of these in all pages
    <!-- file: NAME -->       it is saved under that name; python and toml may say so in their first line, ``# NAME``
    <!-- schema: NAME -->     (json) it matches that published schema
    <!-- exits with 1 -->     (console) its last command exits with that code
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NOT_RUN = 5
FRESH = (
    DOCS / "tutorial" / "first-channel.md",
    DOCS / "how-to" / "publish-a-plugin.md",
    DOCS / "how-to" / "declare-versions.md",
    DOCS / "how-to" / "run-on-asyncio.md",
)
"""Pages that make projects and install them: they are followed in an environment of their own, by test_tutorial.py."""
LANGUAGES = {"console", "json", "python", "sh", "text", "toml"}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!-- (not run|file|schema|exits with):? ?(.+?) -->\s*\Z")
_NAMED = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")


@frozen
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    text: str
    directive: str = ""
    """The word of the comment before it: ``not run``, ``file``, ``schema``, ``exits with``."""
    argument: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def skipped(self) -> bool:
        return self.directive == "not run"

    @property
    def file(self) -> str:
        """The name under which a reader saves it; empty for none."""
        if self.directive == "file":
            return self.argument
        named = _NAMED.match(self.text) if self.language in {"python", "toml"} else None
        return named[1] if named else ""

    def commands(self) -> Iterator[tuple[str, str]]:
        """Of a console block: what is typed, and the output that is shown below it."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = re.sub(r"\\\n\s*", "", part).partition("\n")
            yield command, output.strip("\n")


def pages() -> list[Path]:
    """Everything that the tests read: the two READMEs and the docs."""
    return [ROOT / "README.md", ROOT / "core" / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in its order."""
    text = page.read_text("utf-8")
    for found in _FENCE.finditer(text):
        comment = _COMMENT.search(text[: found.start()])
        line = text.count("\n", 0, found.start()) + 1
        directive, argument = (comment[1], comment[2]) if comment else ("", "")
        yield Block(page, line, found[1], found[2], directive, argument)


def pattern(shown: str) -> re.Pattern[str]:
    """What output must look like that is shown so: ``...`` stands for anything."""
    return re.compile(".*?".join(map(re.escape, shown.split("..."))), re.DOTALL)


def tidy(output: str) -> str:
    """Output without what a page cannot show: spaces at the ends of lines."""
    return "\n".join(line.rstrip() for line in output.strip("\n").splitlines())
