"""Which of the offered tools does what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from fairlead import ToolSpec
from fairlead_rehearsal._wish import Wish

__all__ = ["SKILLS", "Skill", "choose"]


@frozen
class Skill:
    """How tools that can do it are called and described."""

    noun: str
    """What a person calls it."""
    names: tuple[str, ...]
    phrases: tuple[str, ...]
    """Words of a description, in small letters."""


SKILLS: dict[str, Skill] = {
    "calculate": Skill("arithmetic", ("calculate", "calculator", "calc"), ("arithmetic",)),
    "weekday": Skill("days of the week", ("weekday", "day_of_week"), ("day of the week of a date", "weekday")),
    "now": Skill("the time", ("now", "current_time", "get_time"), ("current time", "present date")),
    "date_difference": Skill(
        "differences of dates", ("date_difference", "days_between"), ("days between", "days from")
    ),
    "add_days": Skill("counting days", ("add_days",), ("days after",)),
    "remember": Skill("writing notes", ("remember", "add_note", "save_note"), ("write a note", "save a note")),
    "recall": Skill("searching notes", ("recall", "search_notes"), ("search the notes", "search notes")),
    "python": Skill("Python", ("python", "run_python", "python_exec", "execute_python"), ("run python code",)),
    "shell": Skill("commands", ("shell", "bash", "run_command", "run_shell", "terminal"), ("run a command",)),
    "list_files": Skill("listing files", ("list_files", "list_directory", "ls"), ("list a directory", "list files")),
    "read_file": Skill("reading files", ("read_file",), ("read a text file", "read a file")),
    "write_file": Skill("writing files", ("write_file", "create_file"), ("write a text file", "write a file")),
    "search_files": Skill("searching files", ("search_files", "grep"), ("search the text files", "search files")),
    "fetch": Skill("pages of the web", ("fetch", "fetch_url", "http_get", "get_url"), ("fetch a page", "fetch a url")),
    "forget": Skill("removing notes", ("forget", "delete_note"), ("remove a note", "delete a note")),
}


def choose(wish: Wish, tools: Sequence[ToolSpec]) -> tuple[ToolSpec, Mapping[str, Any]] | None:
    """The tool for a wish, by name first, then by description, and the arguments in its words. None: no such tool."""
    if wish.kind == "use":
        named = next((tool for tool in tools if tool.name == wish.tool), None)
        return None if named is None or wish.problem else (named, wish.arguments)
    skill = SKILLS.get(wish.kind)
    if skill is None:
        return None
    for tool in sorted(tools, key=lambda tool: _distance(skill, tool)):
        arguments = _fit(wish.arguments, tool) if _distance(skill, tool) < FAR else None
        if arguments is not None:
            return tool, arguments
    return None


FAR = 3


def _distance(skill: Skill, tool: ToolSpec) -> int:
    """0: the very name; 1: with words around it, as gateways add them; 2: by description; `FAR`: another tool."""
    name = tool.name.lower().replace("-", "_")
    if name in skill.names:
        return 0
    if any(name.startswith(f"{own}_") or name.endswith(f"_{own}") for own in skill.names):
        return 1
    description = tool.description.lower()
    return 2 if any(phrase in description for phrase in skill.phrases) else FAR


def _fit(arguments: Mapping[str, Any], tool: ToolSpec) -> Mapping[str, Any] | None:
    """The arguments as the tool's schema names them: as they are, or the only one under the only required name."""
    properties = tool.parameters.get("properties", {})
    required = tool.parameters.get("required", ())
    if set(required) <= set(arguments) <= set(properties):
        return arguments
    if len(arguments) == 1 and len(required) == 1 and properties.get(required[0], {}).get("type") == "string":
        return {required[0]: next(iter(arguments.values()))}
    return None
