"""The tools that read and write files of the workspace. All of it is blocking, and is run in a thread."""

from __future__ import annotations

import mimetypes
import stat
from collections.abc import Sequence

from fairlead import File, Image, Text, ToolCall, ToolResult
from fairlead.types import Part
from fairlead_workbench._options import Options
from fairlead_workbench.bare import Found, Limits, Refusal, Workspace, matches, show, walk

__all__ = ["edit_file", "list_files", "read_file", "send_file", "write_file"]

DEFAULT_LINES = 1_000
LINE_CHARS = 2_000
PAGE_CHARS = 100_000
"""Of one answer of `read_file`."""
MAX_LISTED = 1_000
AROUND = 3
"""Lines before and behind an edit that are shown."""
MAX_PLACES = 10
PICTURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
MARK = "\ufeff"
"""The byte order mark that some editors write at the beginning."""
WIDE = ("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")


def read_file(workspace: Workspace, call: ToolCall, options: Options) -> str:
    """The lines with their numbers."""
    given = call.arguments
    data, _, shown = workspace.read(given["path"], options.file_bytes)
    text = _text(data, shown)
    lines = text.removeprefix(MARK).split("\n")
    if lines[-1] == "":
        lines.pop()
    start, count = int(given.get("start", 1)), int(given.get("lines", DEFAULT_LINES))
    if not lines:
        return f"{shown} is empty."
    if start > len(lines):
        raise Refusal(f"{shown} has {len(lines):,} lines, none from {start:,} on", "begin at an earlier line")
    page = _page(lines, start, count)
    end = start + len(page) - 1
    if start > 1 or end < len(lines):
        more = f"; go on with start={end + 1}" if end < len(lines) else ""
        page.append(f"[lines {start:,} to {end:,} of {len(lines):,}{more}]")
    if text.count("\r\n") == text.count("\n") > 0:
        page.append("[the lines end with CRLF, \\r\\n]")
    return "\n".join(page)


def _page(lines: Sequence[str], start: int, count: int) -> list[str]:
    page, size = [], 0
    for number, line in enumerate(lines[start - 1 : start - 1 + count], start):
        page.append(_numbered(number, line))
        size += len(page[-1]) + 1
        if size > PAGE_CHARS:
            break
    return page


def _numbered(number: int, line: str) -> str:
    line = line.removesuffix("\r")
    if len(line) > LINE_CHARS:
        line = f"{line[:LINE_CHARS]}[... {len(line) - LINE_CHARS:,} more characters]"
    return f"{number:>6}\t{line}"


def write_file(workspace: Workspace, call: ToolCall, options: Options) -> str:
    """That it is written."""
    data = _encoded(call.arguments["content"], "the content")
    if len(data) > options.file_bytes:
        raise Refusal(f"the content has {len(data):,} bytes, at most {options.file_bytes:,} are taken")
    new, shown = workspace.write(call.arguments["path"], data)
    lines = data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    return f"{'Wrote' if new else 'Replaced'} {shown}: {_count(lines, 'line')}, {_count(len(data), 'byte')}."


def edit_file(workspace: Workspace, call: ToolCall, options: Options) -> str:
    """Where it was changed, with the lines around the first place."""
    given = call.arguments
    old, new = given["old"], given["new"]
    _encoded(old, "old")
    data, info, shown = workspace.read(given["path"], options.file_bytes)
    text = _text(data, shown)
    if old == new:
        raise Refusal("old and new are the same: nothing would change", "say what shall stand there instead")
    places = text.count(old)
    if not places:
        raise _missing(text, old, shown)
    if places > 1 and not given.get("all", False):
        numbers = ", ".join(map(str, _line_numbers(text, old)))
        raise Refusal(
            f"old stands {places:,} times in {shown}, at the lines {numbers}; nothing was changed",
            "add lines around it until it is the only one, or say all=true",
        )
    # Before it is made: a thousand letters, each of which becomes a million, fill the memory.
    size = len(data) + places * (len(_encoded(new, "new")) - len(_encoded(old, "old")))
    if size > options.file_bytes:
        raise Refusal(f"{shown} would have {size:,} bytes, at most {options.file_bytes:,} are taken")
    edited = _encoded(text.replace(old, new), "new")
    workspace.write(given["path"], edited, info)
    return _edited(text, old, new, shown, places)


def _missing(text: str, old: str, shown: str) -> Refusal:
    """Why it is not found, as far as that can be seen."""
    problem = f"old does not stand in {shown}; nothing was changed"
    if "\r\n" in text and "\n" in old and old.replace("\r\n", "\n").replace("\n", "\r\n") in text:
        return Refusal(
            f"{problem}. The lines of the file end with CRLF", "write \\r\\n for each line end in old and new"
        )
    bare = " ".join(old.split())
    for number, line in enumerate(text.split("\n"), 1):
        if bare and "\n" not in old.strip() and bare in " ".join(line.split()):
            return Refusal(f"{problem}. With other white space it stands at line {number:,}", "read that line again")
    return Refusal(problem, "read_file shows what stands there, and where")


def _line_numbers(text: str, piece: str) -> list[int | str]:
    found: list[int | str] = []
    at, line, behind = text.find(piece), 1, 0
    while at >= 0:
        if len(found) == MAX_PLACES:
            return [*found, "..."]
        line += text.count("\n", behind, at)
        if line not in found[-1:]:
            found.append(line)
        behind, at = at, text.find(piece, at + len(piece))
    return found


def _edited(text: str, old: str, new: str, shown: str, places: int) -> str:
    at = text.index(old)
    first = text.count("\n", 0, at) + 1
    last = first + new.count("\n")
    lines = text.replace(old, new).removesuffix("\n").split("\n")
    start = max(1, first - AROUND)
    page = _page(lines, start, min(last + AROUND, first + 40) - start + 1)
    where = f"at line {first:,}" if places == 1 else f"{places:,} times, first at line {first:,}"
    return f"Changed {shown} {where}. It now reads:\n" + "\n".join(page)


def list_files(workspace: Workspace, call: ToolCall, options: Options) -> str:  # noqa: ARG001  # as its neighbours
    """One entry a line: directories with a slash, links with their target, files with their size."""
    pattern = call.arguments.get("pattern", "")
    limits = Limits()
    with workspace.locate(call.arguments.get("path", ".")) as place:
        lines: list[str] = []
        size = 0
        above = len(place.path) + 1 if place.path else 0
        for found in walk(place, limits, deep=bool(pattern)):
            if pattern and (found.is_directory or not matches(found.place.path[above:], pattern)):
                continue
            if len(lines) == MAX_LISTED or size > PAGE_CHARS:
                lines.append(f"[the first {len(lines):,}; list a directory below, or give a pattern]")
                break
            lines.append(_entry(found))
            size += len(lines[-1]) + 1
        lines += [f"[{words}]" for words in limits.words()]
        nothing = f"No file below {place.shown} fits {pattern!r}." if pattern else f"{place.shown} is empty."
        return "\n".join(lines) or nothing


def _entry(found: Found) -> str:
    mode, shown = found.info.st_mode, found.place.shown
    if stat.S_ISDIR(mode):
        return f"{shown}/"
    if stat.S_ISLNK(mode):
        return f"{shown} -> {show(found.target())}"
    if stat.S_ISREG(mode):
        return f"{shown} ({_count(found.info.st_size, 'byte')})"
    return f"{shown} (no regular file)"


def send_file(workspace: Workspace, call: ToolCall, options: Options) -> ToolResult:
    """The file itself, as a picture where its first bytes say so."""
    data, _, shown = workspace.read(call.arguments["path"], options.sent_bytes)
    name = show(shown.rpartition("/")[2])
    media_type = next((kind for magic, kind in PICTURES.items() if data.startswith(magic)), "")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        media_type = "image/webp"
    part: Part
    if media_type:
        part = Image(media_type, data, alt=name)
    else:
        part = File(name, mimetypes.guess_type(name)[0] or "application/octet-stream", data)
    return ToolResult(call.id, call.tool, (Text(f"Sent {shown}: {_count(len(data), 'byte')}."), part))


def _text(data: bytes, shown: str) -> str:
    """UTF-8, or a `Refusal` that says what it is instead."""
    step = "send_file sends it; the shell has file, xxd and strings"
    for name, mark in WIDE:
        if data.startswith(mark):
            raise Refusal(f"{shown} is text in {name}, expected UTF-8", f"iconv -f {name} -t utf-8 in the shell")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise Refusal(f"{shown} is no UTF-8 text: byte 0x{byte:02x} at {error.start:,}", step) from None
    if "\0" in text:
        raise Refusal(f"{shown} is no text: a NUL character at {text.index(chr(0)):,}", step)
    return text


def _encoded(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise Refusal(f"{what} has half a character (a lone surrogate) in it", "write the whole character") from None


def _count(number: int, what: str) -> str:
    return f"{number:,} {what if number == 1 else what + 's'}"
