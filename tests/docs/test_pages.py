"""What the pages show is true: their programs run, their configurations load, their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from .blocks import DOCS, FRESH, LANGUAGES, NOT_RUN, ROOT, Block, blocks, pages
from .reader import Reader


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", pages(), ids=named)


@pytest.mark.parametrize("page", [page for page in pages() if page not in FRESH], ids=named)
def test_page_does_what_it_shows(page: Path, tmp_path: Path) -> None:
    """A reader who does what the page says, from its top to its end, sees what it shows."""
    reader = Reader(tmp_path)
    try:
        for block in blocks(page):
            reader.do(block)
    finally:
        reader.close()


def test_blocks_have_a_known_language() -> None:
    """A block without one, or of an unknown one, would never be run."""
    assert [] == [block.place for block in every_block() if block.language not in LANGUAGES]


def test_blocks_that_are_not_run_are_few_and_say_why() -> None:
    """Whatever can be run is run: commands for a shell are shown as `console`, with a dollar."""
    skipped = [block for block in every_block() if block.skipped]
    assert [] == [block.place for block in every_block() if block.language == "sh" and not block.skipped]
    assert [] == [block.place for block in skipped if len(block.argument) < 10]
    assert len(skipped) <= NOT_RUN, [block.place for block in skipped]


def test_saved_programs_are_run() -> None:
    """A program that a page lets its readers save is used in a command, by pytest, or imported by another program."""
    for page in pages():
        shown = list(blocks(page))
        typed = " ".join(command for block in shown for command, _ in block.commands())
        imports = set(re.findall(r"^from ([\w.]+) import", "\n".join(block.text for block in shown), re.MULTILINE))
        for block in shown:
            module = block.file.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            if block.language == "python" and block.file not in {"", "conftest.py"} and block.file not in typed:
                assert any(name == module or name.startswith(f"{module}.") for name in imports), block.place


def test_picture_is_whole_and_fetches_nothing() -> None:
    """It shows every part of the path, in light and in dark, from this one file."""
    text = (DOCS / "explanation" / "architecture.svg").read_text("utf-8")
    shown = {element.text for element in ET.fromstring(text).iter() if element.tag.endswith("}text")}  # noqa: S314  # our own file
    assert {"channels", "inbox", "lane", "turn", "outbox", "providers", "tools", "memories", "policies"} <= shown
    assert {"message in", "model request", "tool call", "tool result", "message out"} <= shown
    assert "prefers-color-scheme: dark" in text
    assert [] == re.findall(r"href|@import|url\((?!#)", text)


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the checkout, and to a heading where one is named."""
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_blocks(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            missing.append(target)
    assert [] == missing


def test_every_page_is_reached_from_the_index() -> None:
    """A page that nobody links to is not read."""
    linked = {
        (DOCS / name).resolve() for name in re.findall(r"\]\(([^)#\s]+)\)", (DOCS / "index.md").read_text("utf-8"))
    }
    assert [] == sorted(set(DOCS.rglob("*.md")) - linked - {DOCS / "index.md"})


def every_block() -> list[Block]:
    return [block for page in pages() for block in blocks(page)]


def outside_blocks(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as web views of repositories make them."""
    headings = re.findall(r"^#+ (.+)$", outside_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
