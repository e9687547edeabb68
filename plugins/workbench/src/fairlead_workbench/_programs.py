"""The tools that run programs: the shell, Python, and the search that may have to be killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from fairlead import Text, ToolCall, ToolResult
from fairlead.errors import ToolError
from fairlead_workbench._faults import tool_error
from fairlead_workbench._options import Options
from fairlead_workbench._running import Program, Ran, interpreter, run

__all__ = ["python", "search", "shell"]

SHELLS = (("/bin/bash", "--noprofile", "--norc"), ("/usr/bin/bash", "--noprofile", "--norc"), ("/bin/sh",))
MAX_COMMAND_BYTES = 120_000
"""Linux takes 131,072 bytes for one argument (MAX_ARG_STRLEN)."""
HERE = Path(__file__).parent
SEARCH = "import sys; sys.path.insert(0, sys.argv[1]); from bare._search import main; main()"
SEARCH_SECONDS = 20.0
MAX_MATCHES = 200
LINE_CHARS = 400

Tell = Callable[[str], Awaitable[None]]


async def shell(root: str, call: ToolCall, options: Options, tell: Tell) -> ToolResult:
    """What a command line wrote, and how it ended."""
    command = _bytes(call.arguments["command"], "the command")
    if b"\0" in command:
        raise tool_error("the command has a NUL character, which no command line can have", "write '\\0'")
    if len(command) > MAX_COMMAND_BYTES:
        raise tool_error(
            f"the command has {len(command):,} bytes, at most {MAX_COMMAND_BYTES:,} are taken",
            "write it into a file with write_file, and run that",
        )
    start = next((one for one in SHELLS if os.access(one[0], os.X_OK)), SHELLS[-1])
    return await _result(call, [*start, "-c", command.decode()], root, options, tell)


async def python(root: str, call: ToolCall, options: Options, tell: Tell) -> ToolResult:
    """What a program wrote, the value of its last expression, and how it ended."""
    code = _bytes(call.arguments["code"], "the code")
    command = [interpreter(), "-I", str(HERE / "bare" / "_notebook.py")]
    return await _result(call, command, root, options, tell, code)


async def _result(
    call: ToolCall, command: list[str], root: str, options: Options, tell: Tell, stdin: bytes = b""
) -> ToolResult:
    asked = float(call.arguments.get("seconds", options.seconds))
    seconds = min(asked, options.max_seconds)
    ran = await run(Program(command, root, seconds, options.kept_bytes, options.output_bytes, stdin), tell)
    text = ran.output.text().strip("\n")
    note, error = _ending(ran, seconds, options)
    text = "\n".join(part for part in (text, note) if part) or "(no output)"
    return ToolResult(call.id, call.tool, (Text(text),), error)


def _ending(ran: Ran, seconds: float, options: Options) -> tuple[str, str]:
    """How it ended, in a line for the model, and the kind of error. Nothing is said of an exit status of 0."""
    if ran.stopped == "time":
        more = f"; ask for more with seconds, at most {options.max_seconds:g}" if seconds < options.max_seconds else ""
        return f"[stopped after {seconds:g} s{more}]", "timeout"
    if ran.stopped == "output":
        limit = f"{options.output_bytes:,} bytes"
        return f"[stopped: it wrote more than {limit}; let it write into a file, or less]", "failed"
    if ran.status < 0:
        number = -ran.status
        name = signal.Signals(number).name if number in set(signal.Signals) else "unknown"
        guess = "; perhaps it used more memory than it may" if number == signal.SIGKILL else ""
        return f"[ended by signal {number} ({name}){guess}]", ""
    return (f"[exit status {ran.status}]" if ran.status else ""), ""


async def search(root: str, call: ToolCall, options: Options) -> str:
    """The matches, a line each, and what was left out."""
    given = call.arguments
    request = {
        "root": root,
        "pattern": given["pattern"],
        "path": given.get("path", ""),
        "glob": given.get("glob", ""),
        "seconds": SEARCH_SECONDS,
        "max_matches": MAX_MATCHES,
        "max_bytes": options.file_bytes,
        "line_chars": LINE_CHARS,
    }
    command = [interpreter(), "-I", "-c", SEARCH, str(HERE)]
    stdin = json.dumps(request).encode()
    # Its own alarm rings first, and then it says where it was.
    ran = await run(Program(command, root, SEARCH_SECONDS + 5, 4_000_000, 8_000_000, stdin))
    lines = _json_lines(ran)
    if not lines or "found" not in lines[-1]:
        raise _search_fault(lines, ran)
    return _matches(lines[:-1], lines[-1])


def _json_lines(ran: Ran) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in ran.output.text().splitlines()]
    except ValueError:  # it was killed while it wrote, or wrote a traceback
        return []


def _search_fault(lines: list[dict[str, Any]], ran: Ran) -> ToolError:
    if lines and "refused" in lines[-1]:
        return tool_error(lines[-1]["refused"], lines[-1]["next"])
    how = "took too long" if ran.stopped else f"ended with {ran.status}"
    return tool_error(f"the search {how}", "search for something simpler, or with grep in the shell")


def _matches(found: list[dict[str, Any]], report: Mapping[str, Any]) -> str:
    lines = [f"{one['file']}:{one['line']}: {one['text']}" for one in found]
    if not found:
        lines = [f"No match in {report['files']} files."]
    if report["stopped"]:
        reasons = {
            "enough": f"the first {report['found']} matches; narrow the pattern, the path or the glob",
            "time": f"stopped after {SEARCH_SECONDS:g} s, at {report['at']}; a pattern such as (a+)+ never ends",
            "memory": f"stopped for want of memory, at {report['at']}",
        }
        lines.append(f"[{reasons[report['stopped']]}]")
    if report["left_out"]:
        lines.append(f"[left out: {'; '.join(report['left_out'])}]")
    return "\n".join(lines)


def _bytes(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise tool_error(f"{what} has half a character (a lone surrogate) in it") from None
