"""One life as a program of its own, for a tracer: ``python -m tests.durability.killpoints.alone WORKLOAD DIRECTORY``.

What it says is added to ``told`` in the directory, from which the next life knows what was acknowledged.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from .life import live
from .trap import Trap
from .world import World

__all__ = ["main"]


def main(workload: str, directory: Path) -> None:
    (directory / "world").mkdir(parents=True, exist_ok=True)
    record = directory / "told"
    said = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    pipe = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    acknowledged = frozenset(words[1] for words in said if words[0] == "acknowledged")
    lives = 1 + sum(words[0] == "began" for words in said)
    world = World(pipe, Trap(), directory / "world", acknowledged, lives)
    world.report("began")
    live(workload, world, directory / "files")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
