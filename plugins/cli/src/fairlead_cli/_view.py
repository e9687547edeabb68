"""What is shown of a conversation: as text for people, as JSON lines for scripts."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from fairlead import Audio, Data, File, Image, Message, Text
from fairlead.wire import unstructure
from fairlead_cli._text import escape, one_line, show_arguments, show_evidence, split_next_step

if TYPE_CHECKING:
    from fairlead import Draft, Outbound, Usage
    from fairlead.types import Progress
    from fairlead_cli._screen import Screen

__all__ = ["JsonView", "TextView", "View", "show_part"]

DETAIL_CHARS = 60
"""Of a tool's result on its line; `fairlead sessions show` has the whole."""


class View(ABC):
    """Shows the turns of one conversation, one turn after the other."""

    @abstractmethod
    def grow(self, draft: Draft) -> None:
        """The answer grew, or a tool went on."""

    @abstractmethod
    def finish(self, outbound: Outbound) -> None:
        """The whole answer, or the notice that stands for one."""

    @abstractmethod
    def ask(self, outbound: Outbound) -> None:
        """A call waits for an approval."""

    @abstractmethod
    def note(self, text: str, *, level: str = "info") -> None:
        """Something that is no part of the answer. Levels as of `NoticeRaised`."""

    def failed(self, model: str, error: str, detail: str) -> None:
        """A model did not answer; another one is asked, or the turn fails."""
        self.note(f"· {model} did not answer ({error}): {detail}", level="warning")

    def ended(self, outcome: str, reason: str, usage: Usage) -> None:
        """The turn is over; its answer follows."""

    def wait(self) -> None:
        """A message is on its way; nothing of its answer is there yet."""

    def rest(self) -> None:
        """Nobody waits any more."""


class TextView(View):
    """Text: the answer on standard output, tools and notices on standard error.

    Where standard output is no terminal, it gets the final answer only: a draft may still be revised.
    """

    def __init__(self, screen: Screen, *, quiet: bool = False, spaced: bool = False) -> None:
        """*quiet* leaves out everything but answers, and notices that stand for one.

        *spaced* keeps the turns of a conversation on a terminal apart with an empty line.
        """
        self._screen = screen
        self._quiet = quiet
        self._spaced = spaced
        self._failure = ""
        """Why the last model did not answer, where that was shown."""
        self._draft = ""
        """The id of the draft that is shown."""
        self._text = ""
        """As much of its text as is shown, unescaped."""
        self._tools: dict[str, Progress] = {}
        """Calls as they were last shown."""
        self._begun = ""
        """The call whose line waits for its end."""

    def grow(self, draft: Draft) -> None:
        changed = [tool for tool in draft.tools if self._tools.get(tool.call) != tool]
        for tool in changed:
            if tool.status != "running":
                self._end(tool)
        if self._screen.terminal and draft.text:
            self._show(draft.id, draft.text)
        for tool in changed:
            if tool.status == "running":
                self._begin(tool, alone=len(changed) == 1)
        self._tools.update({tool.call: tool for tool in changed})
        if changed and all(tool.status != "running" for tool in self._tools.values()):
            self.wait()

    def _begin(self, tool: Progress, *, alone: bool) -> None:
        if self._quiet or not self._screen.terminal:
            return
        if tool.detail:
            self.note(f"· {tool.tool}: {tool.detail}")
        elif alone:
            self._begun = tool.call
            self._screen.begin_note(_head(tool))

    def _end(self, tool: Progress) -> None:
        if self._quiet:
            return
        detail, step = (tool.detail, "") if tool.status == "done" else split_next_step(tool.detail)
        text = one_line(detail, DETAIL_CHARS)
        end, style = (
            (f" → {text or 'done'}", "dim") if tool.status == "done" else (f" ✗ {text or tool.status}", "yellow")
        )
        if self._begun == tool.call and self._screen.noting:
            self._screen.end_note(end, style)
        else:
            self._screen.note(_head(tool) + end, style)
        if step:
            self._screen.note(f"  next: {one_line(step, 300)}")
        if place := show_evidence(tool.evidence):
            self._screen.note(f"  ran {place}", "dim")

    def _show(self, draft: str, text: str) -> None:
        if draft != self._draft or not text.startswith(self._text):
            self._screen.end_answer()
            self._draft, self._text = draft, ""
        self._screen.write(escape(text[len(self._text) :], self._text[-1:]))
        self._text = text

    def finish(self, outbound: Outbound) -> None:
        text = "\n".join(show_part(part) for part in outbound.parts)
        if outbound.kind == "notice":
            self._screen.end_answer()
            self._screen.note(escape(self._notice(text)), "yellow")
        else:
            self._show(outbound.id, text)
            self._screen.end_answer()
        if self._spaced and self._screen.terminal:
            self._screen.line()
        self._draft = self._text = self._begun = self._failure = ""
        self._tools.clear()

    def ask(self, outbound: Outbound) -> None:
        self._screen.end_answer()
        for line in "\n".join(part.text for part in outbound.parts if isinstance(part, Text)).split("\n"):
            self._screen.note(escape(line), "yellow")

    def _notice(self, text: str) -> str:
        """The notice; where it repeats why a model did not answer, what to type instead of that."""
        head, repeated, rest = text.partition(f": {self._failure.rstrip('. ')}")
        if not self._failure or not repeated:
            return text
        rest = rest.strip(". ")
        return f"{head}.{f' {rest}.' if rest else ''}\n  next: fairlead doctor"

    def failed(self, model: str, error: str, detail: str) -> None:
        super().failed(model, error, detail)
        self._failure = "" if self._quiet else detail

    def wait(self) -> None:
        if not self._quiet:
            self._screen.wait()

    def rest(self) -> None:
        self._screen.rest()

    def note(self, text: str, *, level: str = "info") -> None:
        if not self._quiet or level == "error":
            self._screen.note(one_line(text, 600), "dim" if level == "info" else "yellow")


def _head(tool: Progress) -> str:
    return f"· {escape(tool.tool)}({show_arguments(tool.arguments)})"


class JsonView(View):
    """JSON lines on standard output, each an object with a ``type``."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._text = ""
        self._tools: dict[str, Progress] = {}

    def grow(self, draft: Draft) -> None:
        for tool in draft.tools:
            if self._tools.get(tool.call) != tool:
                self._tools[tool.call] = tool
                self._say("tool", **unstructure(tool))
        if draft.text != self._text:
            self._text = draft.text
            self._say("draft", id=draft.id, text=draft.text)

    def finish(self, outbound: Outbound) -> None:
        text = "\n".join(part.text for part in outbound.parts if isinstance(part, Text))
        others = any(not isinstance(part, Text) for part in outbound.parts)
        more = {"parts": unstructure(Message("assistant", outbound.parts))["parts"]} if others else {}
        self._say(outbound.kind, id=outbound.id, session=outbound.session, text=text, **more)
        self._text = ""
        self._tools.clear()

    def ask(self, outbound: Outbound) -> None:
        fields = next(part.value for part in outbound.parts if isinstance(part, Data))
        text = "\n".join(part.text for part in outbound.parts if isinstance(part, Text))
        self._say("approval", session=outbound.session, text=text, **fields)

    def note(self, text: str, *, level: str = "info") -> None:
        self._say("note", level=level, text=text)

    def ended(self, outcome: str, reason: str, usage: Usage) -> None:
        self._say("turn", outcome=outcome, reason=reason, usage=unstructure(usage))

    def _say(self, kind: str, **fields: Any) -> None:
        self._screen.json({"type": kind, **fields})


def show_part(part: object) -> str:
    """A part of a message in words: the text itself, or what else it is. Not escaped."""
    match part:
        case Text(text):
            return text
        case Image(media_type=kind, url=url, alt=alt):
            return f"[image {kind}{': ' + alt if alt else ''}{' ' + url if url else ''}]"
        case Audio(media_type=kind, url=url, transcript=words):
            return f"[audio {kind}{': ' + words if words else ''}{' ' + url if url else ''}]"
        case File(name=name, media_type=kind, url=url):
            return f"[file {name} {kind}{' ' + url if url else ''}]"
        case Data(value=value):
            return json.dumps(value, ensure_ascii=False)
        case _:
            return f"[{type(part).__name__}]"
