"""What the site has beside these pages: the READMEs of the rooms, and headings that are named as on the code's host.

MkDocs calls these functions by their names; `mkdocs.yml` says so.
"""  # noqa: INP001  # it is loaded by its path

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["on_config", "on_files", "on_page_markdown"]

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
LINK = re.compile(r"\[([^\[\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def slug(heading: str, separator: str) -> str:
    """The name of a heading, as web views of repositories make it and the links in our pages expect it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", separator)


def rooms() -> dict[str, Path]:
    """Page of the site to the README that it is made of."""
    found = {"rooms/fairlead.md": ROOT / "README.md"}
    for readme in [ROOT / "core" / "README.md", ROOT / "sandbox" / "README.md", *ROOT.glob("plugins/*/README.md")]:
        found[f"rooms/{readme.parent.name}.md"] = readme
    return dict(sorted(found.items()))


def sections() -> list[dict[str, Any]]:
    """The navigation is that of the index: its headings, and below each the pages in their order there."""
    found: list[dict[str, Any]] = [{"Fairlead": "index.md"}]
    _, *parts = re.split(r"^## (.+)$", (DOCS / "index.md").read_text("utf-8"), flags=re.MULTILINE)
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        found.append({title: [{name: page} for name, page, _ in LINK.findall(text) if page.endswith(".md")]})
    return [*found, {"Rooms": [{Path(page).stem: page} for page in rooms()]}]


def on_config(config: MkDocsConfig) -> None:
    """Name headings our way, and take the navigation from the index."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug
    config.nav = sections()


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the READMEs."""
    for page, readme in rooms().items():
        files.append(File.generated(config, page, content=readme.read_text("utf-8")))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_others: Any) -> str:
    """Links between pages and READMEs lead to where both lie in the site; what is not in it is only named."""
    made = {readme: name for name, readme in rooms().items()}
    source = rooms().get(page.file.src_uri, Path(config.docs_dir) / page.file.src_uri)
    above = "../" * page.file.src_uri.count("/")

    def led(found: re.Match[str]) -> str:
        target = (source.parent / found[2]).resolve()
        if target in made:
            return f"[{found[1]}]({above}{made[target]}{found[3] or ''})"
        if target.is_file() and target.is_relative_to(DOCS):
            return f"[{found[1]}]({above}{target.relative_to(DOCS).as_posix()}{found[3] or ''})"
        return found[0] if not target.exists() else found[1]

    return LINK.sub(led, markdown)
