"""The promises of every provider, with a server of Chat Completions that shows every fault."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fairlead import Provider, Secret, Settings
from fairlead.testing import ModelAsked, ModelReply, ModelWire, ProviderConformance
from fairlead_openai.plugin import fairlead_providers

SECRET = "sk-kit-5f0c1e77a2"


class ChatCompletions(ModelWire):
    """As the servers of this protocol speak (https://platform.openai.com/docs/api-reference/chat-streaming)."""

    def asked(self, body: bytes, headers: Mapping[str, str]) -> ModelAsked:
        found = json.loads(body)
        messages = found["messages"]
        system = [message["content"] for message in messages if message["role"] == "system"]
        schema = found.get("response_format", {}).get("json_schema", {}).get("schema")
        return ModelAsked(
            found["model"],
            tuple(words(message["content"]) for message in messages if message["role"] != "system"),
            "".join(system),
            tuple(tool["function"]["name"] for tool in found.get("tools", ())),
            sum(message["role"] == "tool" for message in messages),
            sum(part.get("type") == "image_url" for message in messages for part in parts(message["content"])),
            found.get("max_completion_tokens", found.get("max_tokens")),
            schema,
            found.get("temperature"),
            headers.get("authorization", "").removeprefix("Bearer "),
            found,
        )

    def answer(self, reply: ModelReply, asked: ModelAsked) -> Iterable[bytes]:
        def chunk(delta: Mapping[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
            choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
            frame = {"id": "chatcmpl-kit", "object": "chat.completion.chunk", "created": 1, "model": asked.model}
            return b"data: " + json.dumps({**frame, "choices": choices, **more}).encode() + b"\n\n"

        yield chunk({"role": "assistant", "content": ""})
        for piece in reply.pieces:
            yield chunk({"content": piece})
        for delta in fragments(reply):
            yield chunk({"tool_calls": [delta]})
        yield chunk({}, "length" if reply.cut else "tool_calls" if reply.calls else "stop")
        counts = {"prompt_tokens": reply.input_tokens, "completion_tokens": reply.output_tokens}
        cached = {"prompt_tokens_details": {"cached_tokens": reply.cached_tokens}}
        yield chunk(None, usage={**counts, "total_tokens": sum(counts.values()), **cached})
        yield b"data: [DONE]\n\n"

    def refusal(self, status: int, words: str) -> bytes:
        codes = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
        return json.dumps({"error": {"message": words, "code": codes.get(status), "type": "kit"}}).encode()

    def listed(self, models: Iterable[str]) -> bytes:
        return json.dumps(
            {"data": [{"id": name, "object": "model", "max_model_len": 8192} for name in models]}
        ).encode()


def fragments(reply: ModelReply) -> Iterator[dict[str, Any]]:
    """The calls in pieces, those of several mixed as parallel calls are."""
    texts = [call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments) for call in reply.calls]
    for index, call in enumerate(reply.calls):
        function = {"name": call.tool, "arguments": ""}
        yield {"index": index, "id": call.id, "type": "function", "function": function}
    for at in range(0, max(map(len, texts), default=0), 40):
        for index, text in enumerate(texts):
            if piece := text[at : at + 40]:
                yield {"index": index, "function": {"arguments": piece}}


def parts(content: Any) -> list[dict[str, Any]]:
    return content if isinstance(content, list) else []


def words(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in parts(content))


class TestOpenAI(ProviderConformance):
    """A server that is not OpenAI's own, as its users point the provider at one."""

    wire = ChatCompletions()
    secret = SECRET
    patience = 1.0

    def settings(self, tmp_path: Path) -> Settings:
        assert self.server is not None
        model = {"name": "kit-model", "window": 8192, "max_output": 1024, "input_price": 1, "images": True}
        options = {"base_url": f"{self.server.url}/v1", "api_key": Secret(SECRET, "a test"), "models": [model]}
        return Settings("openai", {**options, "timeout": {"connect": 2, "read": 0.5}}, tmp_path)

    async def make_worker(self, tmp_path: Path) -> Provider:
        return fairlead_providers(self.settings(tmp_path))[0]
