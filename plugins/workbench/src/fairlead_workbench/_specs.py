"""The tools as a model sees them. The manifest repeats them, so that a host can show them without this code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairlead import ToolSpec
from fairlead.types import Effect
from fairlead_workbench._options import MAX_SECONDS

__all__ = ["SPECS"]

GRACE_SECONDS = 30.0
"""Beyond the longest time of a program, for starting and for cleaning up."""
FILE_SECONDS = 60.0
PATH = {"type": "string", "minLength": 1, "maxLength": 4_000}
SECONDS = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": MAX_SECONDS,
    "description": "Stop it after so many seconds",
}


def _spec(
    name: str,
    description: str,
    properties: Mapping[str, Any],
    required: tuple[str, ...],
    effect: Effect = "read",
    seconds: float = FILE_SECONDS,
) -> ToolSpec:
    parameters = {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }
    # What writes or runs anything goes alone: two of one answer would race for the same files.
    alone = effect != "read"
    return ToolSpec(
        name, description, parameters, effect=effect, isolation="container", timeout=seconds, parallel=not alone
    )


SPECS = (
    _spec(
        "shell",
        "Run a command line with sh (bash where it is there) in the workspace, and get its output. Each call is a new"
        " shell: variables and directories of earlier calls are gone, files of the workspace stay. Its input is empty."
        " What it leaves running in the background is stopped when it ends.",
        {
            "command": {
                "type": "string",
                "minLength": 1,
                "maxLength": 100_000,
                "description": "The command line; it may have several lines",
            },
            "seconds": SECONDS,
        },
        ("command",),
        "once",
        MAX_SECONDS + GRACE_SECONDS,
    ),
    _spec(
        "python",
        "Run Python code in a new interpreter in the workspace, and get its output. The value of a last expression is"
        " shown as in a notebook. Nothing of earlier calls is there but the files. The standard library is there;"
        " modules that lie in the workspace can be imported.",
        {
            "code": {"type": "string", "minLength": 1, "maxLength": 1_000_000, "description": "The program"},
            "seconds": SECONDS,
        },
        ("code",),
        "once",
        MAX_SECONDS + GRACE_SECONDS,
    ),
    _spec(
        "read_file",
        "Read a text file of the workspace, with line numbers. Long files come in parts: go on with start.",
        {
            "path": {**PATH, "description": "The file, from the workspace"},
            "start": {"type": "integer", "minimum": 1, "description": "The first line; 1 without it"},
            "lines": {
                "type": "integer",
                "minimum": 1,
                "maximum": 10_000,
                "description": "At most so many lines; 1,000 without it",
            },
        },
        ("path",),
    ),
    _spec(
        "write_file",
        "Write a text file of the workspace: a new one, or in the place of what was in it. Directories that are"
        " missing are made.",
        {
            "path": {**PATH, "description": "The file, from the workspace"},
            "content": {"type": "string", "maxLength": 5_000_000, "description": "All that shall be in it"},
        },
        ("path", "content"),
        "idempotent",
    ),
    _spec(
        "edit_file",
        "Replace a piece of a text file of the workspace. The piece must stand in it exactly once, word for word with"
        " its spaces and line ends, or all of its places are replaced with all=true. Otherwise nothing is changed.",
        {
            "path": {**PATH, "description": "The file, from the workspace"},
            "old": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1_000_000,
                "description": "The piece as it stands in the file, without line numbers",
            },
            "new": {"type": "string", "maxLength": 1_000_000, "description": "What shall stand there"},
            "all": {"type": "boolean", "description": "Replace it wherever it stands"},
        },
        ("path", "old", "new"),
        "once",
    ),
    _spec(
        "list_files",
        "List a directory of the workspace, or with a pattern every file below it that fits.",
        {
            "path": {**PATH, "description": "The directory; the workspace itself without it"},
            "pattern": {
                "type": "string",
                "minLength": 1,
                "maxLength": 500,
                "description": "*.py for names at any depth, src/**/test_*.py for paths",
            },
        },
        (),
    ),
    _spec(
        "search_files",
        "Search the text files of the workspace, line by line, for a regular expression of Python. Gives file, line"
        " number and line of each match.",
        {
            "pattern": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1_000,
                "description": "(?i) at its beginning ignores case",
            },
            "path": {**PATH, "description": "A directory or a file; the whole workspace without it"},
            "glob": {
                "type": "string",
                "minLength": 1,
                "maxLength": 500,
                "description": "Only files that fit: *.py, src/**/*.md",
            },
        },
        ("pattern",),
    ),
    _spec(
        "send_file",
        "Send a file of the workspace to whoever you talk with: a picture, a document, any regular file.",
        {"path": {**PATH, "description": "The file, from the workspace"}},
        ("path",),
    ),
)
