"""Writes the tools into the manifest, where a host reads them without running this plugin.

uv run python plugins/workbench/tests/manifest.py --write
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fairlead.wire import unstructure
from fairlead_workbench import Workbench

__all__ = ["FILE", "current", "wanted"]

FILE = Path(__file__).parents[1] / "src" / "fairlead_workbench" / "fairlead-plugin.json"


def current() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return found


def wanted() -> dict[str, Any]:
    """The manifest with the tools as the code has them."""
    return {**current(), "tools": [unstructure(spec) for spec in Workbench().specs()]}


if __name__ == "__main__":
    text = json.dumps(wanted(), indent=2, ensure_ascii=False) + "\n"
    if "--write" in sys.argv:
        FILE.write_text(text, "utf-8")
    elif text != FILE.read_text("utf-8"):
        sys.exit(f"{FILE} is not what the code says; write it with --write")
