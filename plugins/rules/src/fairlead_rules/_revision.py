"""What a revise rule changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from fairlead import Audio, Data, File, Image, Message, ModelRequest, Text, ToolCall, ToolResult
from fairlead_rules._conditions import same
from fairlead_rules._fields import MESSAGES, TOOLS, Unevaluable

__all__ = ["Revision", "Subject"]

Subject = Message | ModelRequest | ToolCall | ToolResult
Part = Text | Image | Audio | File | Data


@frozen
class Revision:
    """Changes of a subject; applied twice they change nothing more."""

    arguments: Mapping[str, Any] = field(factory=dict)
    words: tuple[str, ...] = ()
    """What is redacted, the longest first, so that no part of a longer one is left."""
    replacement: str = "[redacted]"
    max_output_tokens: int | None = None

    @property
    def boundaries(self) -> frozenset[str]:
        """Where all of it makes sense."""
        found = TOOLS | MESSAGES | {"model_request"}
        if self.arguments:
            found &= {"tool_call"}
        if self.words:
            found &= TOOLS | MESSAGES
        return found & {"model_request"} if self.max_output_tokens is not None else found

    def apply(self, subject: Subject) -> Subject:
        """The subject as it may pass; the very same object where there is nothing to change.

        `Unevaluable`: it has no arguments that could be set.
        """
        if isinstance(subject, ToolCall):
            return self._call(subject)
        if isinstance(subject, ModelRequest):
            return self._request(subject)
        parts = tuple(map(self._part, subject.parts))
        changed = any(new is not old for new, old in zip(parts, subject.parts, strict=True))
        return evolve(subject, parts=parts) if changed else subject

    def _call(self, call: ToolCall) -> ToolCall:
        found = call.arguments
        if self.arguments and not isinstance(found, Mapping):
            raise Unevaluable
        arguments = self._redacted(found)
        if self.arguments:
            arguments = {**arguments, **self.arguments}
        return call if same(arguments, found) else evolve(call, arguments=arguments)

    def _request(self, request: ModelRequest) -> ModelRequest:
        limit, found = self.max_output_tokens, request.max_output_tokens
        if limit is None or (found is not None and found <= limit):
            return request
        return evolve(request, max_output_tokens=limit)

    def _part(self, part: Part) -> Part:
        name = PLACES[type(part)]
        found = getattr(part, name)
        redacted = self._redacted(found)
        if same(redacted, found):
            return part
        revised: Part = evolve(part, **{name: redacted})
        return revised

    def _redacted(self, value: Any) -> Any:
        if not self.words:
            return value
        if isinstance(value, str):
            for word in self.words:
                value = value.replace(word, self.replacement)
            return value
        if isinstance(value, Mapping):
            return {key: self._redacted(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._redacted(one) for one in value]
        return value


PLACES: dict[type, str] = {Text: "text", Image: "alt", Audio: "transcript", File: "name", Data: "value"}
"""Where a kind of part holds words."""
