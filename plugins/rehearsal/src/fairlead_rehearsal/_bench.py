"""Requests for a workbench: programs, commands, files, pages. Recognised here; the tools do them."""

from __future__ import annotations

import re

from fairlead_rehearsal._programs import write_program
from fairlead_rehearsal._wish import Kind, Wish, word_set

__all__ = ["read_bench", "read_block", "read_literal"]

MAX_CHARS = 2_000
"""Of a request in words; literal code and text may be longer."""
PYTHON = ("python", "python3", "py")
SHELL = ("shell", "bash", "sh", "console", "terminal")
RUN = r"(?:run|execute|try)"
PYTHON_HEAD = (
    r"(?:use |in |with )?python3?",
    rf"{RUN} (?:this |the following )?(?:in |with )?python3?(?: code| program| script)?",
    rf"{RUN} (?:this|the following)(?: code)? (?:in|with) python3?",
)
SHELL_HEAD = (
    r"(?:use the |in the )?(?:shell|bash)",
    rf"{RUN} (?:this |the following |the )?(?:shell |bash )?command",
    rf"{RUN} (?:this |the following )?in (?:the )?(?:shell|bash|terminal)",
)
HEADS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("python", re.compile(f"(?:{'|'.join(PYTHON_HEAD)}):", re.IGNORECASE)),
    ("shell", re.compile(f"(?:{'|'.join(SHELL_HEAD)}):", re.IGNORECASE)),
)
"""What stands before literal code."""
FILE = r"(`[^`\s]{1,500}`|[^\s:`]{1,500})"
WRITE = re.compile(rf"(?:write|create|save)(?: to| into)?(?: the| a)?( file)? {FILE}:", re.IGNORECASE)
WRITE_TO = re.compile(
    rf"(?:write|save|put) (?:`([^`]{{1,2000}})`|\"([^\"]{{1,2000}})\") (?:to|into|in)( the file)? {FILE}",
    re.IGNORECASE,
)
SPAN = re.compile(
    r"(?:run|execute|try|use)(?: the)?(?: (shell|bash|command|terminal|python3?))?(?: to| command| code){0,3}"
    r"(?: run| execute)?:? `([^`]{1,2000})`(.{0,40})",
    re.IGNORECASE,
)
WHERE = re.compile(
    r"(?: (?:in|with|using|on)(?: the)? (shell|bash|terminal|command line|python3?))?(?: please)?", re.IGNORECASE
)
LIST = re.compile(
    r"(?:list|show|show me)(?: me)?(?: all)?(?: of)?(?: the)?(?: files|( [^\s]{0,60}\*[^\s]{0,60}) files)"
    rf"(?: (?:in|of|below)(?: the)?(?: workspace| directory| folder)?(?: {FILE})?)?",
    re.IGNORECASE,
)
WHAT_FILES = ("what files are there", "which files are there", "what files do you have", "ls")
READ = re.compile(
    r"(read|show|show me|open|print|cat|what is in|what's in|display)"
    rf"( the contents? of| the text of)?(?: the)?( file)? {FILE}",
    re.IGNORECASE,
)
SEARCH = re.compile(
    r"(?:(?:search|grep|look through)(?: in)?(?: all)?(?: of)?(?: the| my| your)? files for|"
    r"search the workspace for|grep(?: for)?) (.{1,500})",
    re.IGNORECASE,
)
SEARCH_IN = re.compile(r"(?:search|find|look) (?:for )?(.{1,500}) in (?:all )?(?:the |my )?files", re.IGNORECASE)
FETCH = re.compile(
    r"(?:fetch|get|open|read|download|load|show|show me|what is at|what's at)"
    r"(?: the)?(?: page| url| file)?(?: at| from)? <?(https?://[^\s>]{1,2000})>?",
    re.IGNORECASE,
)
WITH_PYTHON = re.compile(r"(?:use|using|with|in) python3?(?: code)?(?:,| to|:)? (.{1,1500})", re.IGNORECASE)
VERBS = re.compile(
    r"(?:compute|calculate|find out|find|get|give me|print|show me|show|tell me|determine|work out|evaluate|generate"
    r"|list|check|what is|what's|what are)(?: what)? ",
    re.IGNORECASE,
)
RUN_WORDS = word_set("run execute evaluate try use using python shell bash command compute start")
"""In the line before a block: that it is meant to be run."""
NOT_WORDS = word_set("not don never without dont")
SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")


def read_literal(line: str, below: str = "") -> Wish | None:
    """``run python: CODE``, ``write FILE: TEXT``: what follows as it stands; where nothing does, what is `below`."""
    for kind, head in HEADS:
        if found := head.match(line):
            return _run(kind, line[found.end() :].strip() or below.strip("\n"))
    if (found := WRITE.match(line)) and (found[1] or _is_file(found[2])):
        name, text = _bare(found[2]), line[found.end() :].strip() or below
        return Wish("write_file", line[: found.end()].rstrip(":"), {"path": name, "content": text}) if text else None
    return None


def read_block(language: str, block: str, lead: str) -> Wish:
    """A fenced block, and the line before it: code to run, or the text of a file."""
    if (found := WRITE.fullmatch(lead)) and (found[1] or _is_file(found[2])):
        return Wish("write_file", lead.rstrip(":"), {"path": _bare(found[2]), "content": block})
    words = frozenset(re.findall(r"[a-z]+", lead.lower()))
    kind: Kind | None = "python" if language in PYTHON else "shell" if language in SHELL else None
    if kind is None and not language:
        kind = "python" if "python" in words else "shell" if words & {"shell", "bash", "command"} else None
    meant = not lead or (words & RUN_WORDS and not words & NOT_WORDS)
    wish = _run(kind, block.strip("\n")) if kind is not None and meant else None
    return wish or Wish("unknown", f"{lead} ({language or 'a block'} of {len(block)} characters)".strip())


def read_bench(text: str) -> Wish | None:
    """One request in words, or None."""
    text = text.strip()
    if len(text) > MAX_CHARS:
        return None
    bare = text.rstrip("?. ")
    return _read_span(bare) or _read_python(bare) or _read_page(bare) or _read_files(bare)


def _run(kind: Kind, code: str) -> Wish | None:
    code = code[1:-1] if len(code) > 2 and code[0] == code[-1] == "`" and "`" not in code[1:-1] else code  # noqa: PLR2004  # the two ticks
    if not code.strip():
        return None
    arguments = {"code": code} if kind == "python" else {"command": code}
    return Wish(kind, code, arguments, literal=True)


def _read_span(text: str) -> Wish | None:
    """``run `ls -la```, ``use python to run `1 + 1```."""
    found = SPAN.fullmatch(text)
    tail = WHERE.fullmatch(found[3].rstrip("?!. ")) if found else None
    if found is None or tail is None or (text[:3].lower() == "use" and not (found[1] or tail[1])):
        return None  # "use `x`": what for?
    where = (found[1] or tail[1] or "shell").lower()
    return _run("python" if where.startswith("python") else "shell", found[2])


def _read_python(text: str) -> Wish | None:
    """``use python to compute the 1000th prime``, ``compute 2 ** 100 in python``."""
    task = ""
    if found := WITH_PYTHON.fullmatch(text):
        task = found[1]
    for ending in (" with python", " using python", " in python"):
        if text.lower().endswith(ending):
            task = text[: -len(ending)]
    task = task.strip()
    while verb := VERBS.match(task):
        task = task[verb.end() :].strip()
    program = write_program(task) if task else ""
    return Wish("python", task, {"code": program}) if program else None


def _read_page(text: str) -> Wish | None:
    found = FETCH.fullmatch(text)
    return Wish("fetch", text, {"url": found[1]}) if found else None


def _read_files(text: str) -> Wish | None:
    if text.lower() in WHAT_FILES:
        return Wish("list_files", text, {})
    if found := LIST.fullmatch(text):
        named = {"pattern": (found[1] or "").strip(), "path": _bare(found[2] or "")}
        return Wish("list_files", text, {key: value for key, value in named.items() if value})
    if found := SEARCH.fullmatch(text) or SEARCH_IN.fullmatch(text):
        return Wish("search_files", text, {"pattern": _pattern(found[1])})
    if (found := WRITE_TO.fullmatch(text)) and (found[3] or _is_file(found[4])):
        return Wish("write_file", f"write to {found[4]}", {"path": _bare(found[4]), "content": found[1] or found[2]})
    if (found := READ.fullmatch(text)) and (found[2] or found[3] or _is_file(found[4])):
        return Wish("read_file", text, {"path": _bare(found[4])})
    return None


def _is_file(word: str) -> bool:
    """A name that only a file has: with a dot or a slash and a letter, or between ticks."""
    inner = word.strip(".")
    return word.startswith("`") or (("/" in inner or "." in inner) and any(char.isalpha() for char in inner))


def _pattern(words: str) -> str:
    """What stands between ticks or slashes is a pattern already; anything else is meant word for word."""
    if len(words) > 2 and words[0] == words[-1] and words[0] in "`/":  # noqa: PLR2004  # the two marks
        return words[1:-1]
    if len(words) > 2 and words[0] == words[-1] and words[0] in "\"'":  # noqa: PLR2004  # the two quotes
        words = words[1:-1]
    return SPECIAL.sub(r"\\\g<0>", words)


def _bare(name: str) -> str:
    return name.strip("`").strip("\"'")
