"""The two providers beside each other, so that one test holds for both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

from attrs import frozen

from fairlead import Delta, Message, ModelAnswer, ModelRequest, Provider, Secret, Settings, Text, ToolSpec
from fairlead_anthropic.plugin import AnthropicProvider
from fairlead_openai.plugin import OpenAIProvider

from .fake_servers import FakeServer, Script, anthropic_server, openai_server

KEY = "sk-very-secret-1234567890"
CALCULATE = ToolSpec(
    "calculate",
    "Calculates.",
    {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
)


@frozen
class Vendor:
    """A protocol: its fake server, its provider, and how it spells a refusal."""

    name: str
    serve: Callable[[Script], AbstractContextManager[FakeServer]]
    make: Callable[[Settings], Provider]

    def error(self, kind: str, message: str) -> dict[str, Any]:
        """The body of a refusal; `kind` is the vendor's code."""
        if self.name == "openai":
            return {"error": {"message": message, "type": "invalid_request_error", "code": kind}}
        return {"type": "error", "error": {"type": kind, "message": message}}

    def provider(self, base_url: str, **options: Any) -> Provider:
        """A provider of that server, as the configuration would make it; not opened."""
        given = {"base_url": str(base_url), "api_key": Secret(KEY, "a test"), **options}
        return self.make(Settings(self.name, given))

    @asynccontextmanager
    async def opened(self, base_url: str, **options: Any) -> AsyncIterator[Provider]:
        provider = self.provider(base_url, **options)
        await provider.open()
        try:
            yield provider
        finally:
            await provider.close()

    async def ask(self, base_url: str, request: ModelRequest | None = None, **options: Any) -> Asked:
        """One request to an opened provider."""
        deltas: list[Delta] = []

        async def emit(delta: Delta) -> None:
            deltas.append(delta)

        async with self.opened(base_url, **options) as provider:
            return Asked(await provider.generate(request or question(), emit), tuple(deltas))


@frozen
class Asked:
    answer: ModelAnswer
    deltas: tuple[Delta, ...]

    @property
    def text(self) -> str:
        return Message("assistant", self.answer.parts).text

    @property
    def streamed(self) -> str:
        return "".join(delta.text for delta in self.deltas if delta.kind == "text")


def question(*history: Any, **fields: Any) -> ModelRequest:
    return ModelRequest("fake", history or (Message("user", (Text("hi"),)),), **fields)


OPENAI = Vendor("openai", openai_server, OpenAIProvider)
ANTHROPIC = Vendor("anthropic", anthropic_server, AnthropicProvider)
