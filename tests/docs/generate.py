"""The reference pages as files.

uv run python -m tests.docs.generate            say which differ from the code
uv run python -m tests.docs.generate --write    write them
"""

from __future__ import annotations

import sys

from .blocks import DOCS
from .reference import render_pages


def main() -> int:
    directory, write = DOCS / "reference", sys.argv[1:] == ["--write"]
    directory.mkdir(exist_ok=True)
    differ = 0
    for name, text in render_pages().items():
        path = directory / name
        if not path.is_file() or path.read_text("utf-8") != text:
            differ += 1
            sys.stdout.write(f"{'written' if write else 'differs'}: docs/reference/{name}\n")
            if write:
                path.write_text(text, "utf-8")
    return 1 if differ and not write else 0


if __name__ == "__main__":
    sys.exit(main())
