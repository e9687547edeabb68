"""The tool."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from fairlead import Tool, ToolCall, ToolContext, ToolResult, ToolSpec
from fairlead_fetch._address import parse_address
from fairlead_fetch._client import get
from fairlead_fetch._result import parts_of

__all__ = ["Fetch"]

MAX_BYTES = 1_000_000
MOST_BYTES = 10_000_000
SECONDS = 30.0
SPEC = ToolSpec(
    "fetch",
    "Fetch a page or a file from the web by its URL: HTML comes as text with its links, JSON and other text as it is,"
    " anything else as a file. Only hosts that were granted can be reached. Scripts of a page are not run.",
    {
        "type": "object",
        "properties": {
            "url": {
                "type": "string",
                "minLength": 1,
                "maxLength": 8000,
                "description": "http:// or https://; redirects are followed",
            },
            "max_bytes": {
                "type": "integer",
                "minimum": 1,
                "maximum": MOST_BYTES,
                "description": "Read at most so many bytes of it",
            },
        },
        "required": ["url"],
        "additionalProperties": False,
    },
    effect="read",
    isolation="container",
    timeout=120.0,
)


class Fetch(Tool):
    """Offers `fetch`. `max_bytes`: of a page, where a call asks for nothing else; `seconds`: with all its redirects."""

    def __init__(self, max_bytes: int = MAX_BYTES, seconds: float = SECONDS) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds

    def specs(self) -> Sequence[ToolSpec]:
        """One tool."""
        return (SPEC,)

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        """The page. `ToolError`: in words, why there is none. Cancelled: a request that waits ends by itself."""
        address = parse_address(call.arguments["url"])
        most = call.arguments.get("max_bytes", self._max_bytes)
        page = await trio.to_thread.run_sync(get, address, most, self._seconds, abandon_on_cancel=True)
        return ToolResult(call.id, call.tool, parts_of(page))
