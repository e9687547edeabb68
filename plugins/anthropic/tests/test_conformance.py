"""The promises of every provider, with a server of the Messages API that shows every fault."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fairlead import Provider, Secret, Settings
from fairlead.testing import ModelAsked, ModelReply, ModelWire, ProviderConformance
from fairlead_anthropic.plugin import fairlead_providers

SECRET = "sk-ant-kit-5f0c1e77a2"
KINDS = {
    401: "authentication_error",
    402: "billing_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class Messages(ModelWire):
    """As the API speaks (https://platform.claude.com/docs/en/build-with-claude/streaming)."""

    def asked(self, body: bytes, headers: Mapping[str, str]) -> ModelAsked:
        found = json.loads(body)
        blocks = [block for message in found["messages"] for block in blocks_of(message["content"])]
        texts = (block["text"] if block["type"] == "text" else result_of(block) for block in blocks)
        schema = found.get("output_config", {}).get("format", {}).get("schema")
        return ModelAsked(
            found["model"],
            tuple(text for text in texts if text is not None),
            words(found.get("system", "")),
            tuple(tool["name"] for tool in found.get("tools", ())),
            sum(block["type"] == "tool_result" for block in blocks),
            sum(block["type"] == "image" for block in blocks),
            found["max_tokens"],
            schema,
            found.get("temperature"),
            headers.get("x-api-key", ""),
            found,
        )

    def answer(self, reply: ModelReply, asked: ModelAsked) -> Iterable[bytes]:
        usage = {"input_tokens": reply.input_tokens - reply.cached_tokens, "output_tokens": 1}
        cached = {"cache_read_input_tokens": reply.cached_tokens, "cache_creation_input_tokens": 0}
        message = {"id": "msg_kit", "type": "message", "role": "assistant", "model": asked.model, "content": []}
        yield event("message_start", message={**message, "stop_reason": None, "usage": {**usage, **cached}})
        yield event("ping")
        index = 0
        if reply.pieces:
            yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
            for piece in reply.pieces:
                yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
            yield event("content_block_stop", index=0)
            index = 1
        for place, call in enumerate(reply.calls, index):
            block = {"type": "tool_use", "id": call.id, "name": call.tool, "input": {}}
            yield event("content_block_start", index=place, content_block=block)
            text = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
            for at in range(0, len(text), 40):
                delta = {"type": "input_json_delta", "partial_json": text[at : at + 40]}
                yield event("content_block_delta", index=place, delta=delta)
            yield event("content_block_stop", index=place)
        reason = "max_tokens" if reply.cut else "tool_use" if reply.calls else "end_turn"
        output = {"output_tokens": reply.output_tokens}
        yield event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=output)
        yield event("message_stop")

    def refusal(self, status: int, words: str) -> bytes:
        return json.dumps({"type": "error", "error": {"type": KINDS[status], "message": words}}).encode()

    def listed(self, models: Iterable[str]) -> bytes:
        found = [{"type": "model", "id": name, "max_input_tokens": 8192} for name in models]
        return json.dumps({"data": found, "has_more": False}).encode()


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def blocks_of(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def words(content: Any) -> str:
    return "\n".join(block.get("text", "") for block in blocks_of(content)) if content else ""


def result_of(block: Mapping[str, Any]) -> str | None:
    return words(block.get("content", "")) if block["type"] == "tool_result" else None


class TestAnthropic(ProviderConformance):
    """A server that is not Anthropic's own, as its users point the provider at one."""

    wire = Messages()
    secret = SECRET
    patience = 1.0

    def settings(self, tmp_path: Path) -> Settings:
        assert self.server is not None
        model = {"name": "kit-model", "window": 8192, "max_output": 1024, "input_price": 1, "images": True}
        options = {"base_url": self.server.url, "api_key": Secret(SECRET, "a test"), "models": [model]}
        return Settings("anthropic", {**options, "timeout": {"connect": 2, "read": 0.5}}, tmp_path)

    async def make_worker(self, tmp_path: Path) -> Provider:
        return fairlead_providers(self.settings(tmp_path))[0]
