"""What passes between a provider and a model's server, without the words of any protocol; an author adds those."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

from fairlead._message import ToolCall

__all__ = ["FAULTS", "Fault", "ModelAsked", "ModelReply", "ModelWire"]

Fault = Literal[
    "429",
    "429 with a time",
    "500",
    "529",
    "401",
    "402",
    "404",
    "reset",
    "nobody listens",
    "half a stream",
    "garbage",
    "stall",
    "invalid arguments",
    "unknown tool",
    "empty answer",
]
"""What a server does wrong. ``429 with a time`` says ``Retry-After: 7``; ``reset`` comes before any byte of the reply;
the four that begin an answer (``half a stream``, ``garbage``, ``stall``) have shown the text ``first`` by then."""

FAULTS: Mapping[Fault, tuple[int, str]] = {
    "429": (429, "slow down"),
    "429 with a time": (429, "slow down"),
    "500": (500, "something broke"),
    "529": (529, "overloaded"),
    "401": (401, "wrong key"),
    "402": (402, "no credit"),
    "404": (404, "no such model"),
}
"""The refusals: status and words."""


@frozen
class ModelReply:
    """What the model at the far side says."""

    pieces: tuple[str, ...] = ()
    """Its words, piece by piece."""
    calls: tuple[ToolCall, ...] = ()
    """Arguments of type str go out as they are, however broken."""
    cut: bool = False
    """It ran into the limit of tokens."""
    input_tokens: int = 120
    cached_tokens: int = 100
    output_tokens: int = 7


@frozen
class ModelAsked:
    """A request as the far side understood it. What a protocol does not have stays as it is here."""

    model: str = ""
    texts: tuple[str, ...] = ()
    """All words of the history, oldest first, each message by itself; results of tools among them."""
    instructions: str = ""
    tools: tuple[str, ...] = ()
    """The names of the tools that are offered."""
    results: int = 0
    """How many results of tools are in the history."""
    images: int = 0
    max_output_tokens: int | None = None
    schema: Any = None
    """The schema of the answer."""
    temperature: float | None = None
    key: str = ""
    """The credential."""
    raw: Mapping[str, Any] = field(factory=dict)
    """The whole body, for an author's own tests."""


class ModelWire(ABC):
    """The words of one protocol, spoken as its server speaks. Subclass it and set `ProviderConformance.wire`."""

    stream_type = "text/event-stream"
    """The media type of a streamed answer."""
    garbage = b"data: {this is no JSON\n\n"
    """An event that cannot be read."""
    models = ("kit-model",)
    """The models that the server lists."""

    @abstractmethod
    def asked(self, body: bytes, headers: Mapping[str, str]) -> ModelAsked:
        """Understand a request. `headers`: names in small letters."""

    @abstractmethod
    def answer(self, reply: ModelReply, asked: ModelAsked) -> Iterable[bytes]:
        """The events of a streamed answer, each with its end, and the end of the stream. A piece is one event."""

    @abstractmethod
    def refusal(self, status: int, words: str) -> bytes:
        """The body of an answer that is none."""

    def listed(self, models: Sequence[str]) -> bytes:
        """The body that lists the models, where the server has such a page."""
        return b'{"data": []}'
