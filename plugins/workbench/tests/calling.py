"""Calls the tools as the core does, in a workspace of the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fairlead import Text, ToolCall, ToolResult
from fairlead.errors import ToolError
from fairlead.testing import FakeToolContext
from fairlead.wire import build_validator
from fairlead_workbench import Options, Workbench

__all__ = ["Bench"]


class Bench:
    """A workbench in a directory of its own, beside one that no call may reach."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.root = directory / "workspace"
        self.outside = directory / "outside"
        self.root.mkdir(exist_ok=True)
        self.outside.mkdir(exist_ok=True)
        self.secret = self.outside / "secret.txt"
        self.secret.write_text("the secret\n")
        self.worker = Workbench(Options(**options), str(self.root))
        self.context = FakeToolContext()

    async def result(self, tool: str, **arguments: Any) -> ToolResult:
        """The result; the arguments must be such that the core would let them through."""
        spec = next(spec for spec in self.worker.specs() if spec.name == tool)
        assert build_validator(spec.parameters).is_valid(arguments)
        result = await self.worker.call(ToolCall("c1", tool, arguments), self.context)
        return ToolResult("c1", tool, (Text(result),)) if isinstance(result, str) else result

    async def text(self, tool: str, **arguments: Any) -> str:
        return (await self.result(tool, **arguments)).text

    async def attempt(self, tool: str, **arguments: Any) -> ToolResult | str:
        """The result, or the words with which it refuses."""
        try:
            return await self.result(tool, **arguments)
        except ToolError as error:
            return error.problem

    async def refusal(self, tool: str, **arguments: Any) -> str:
        """The words with which it refuses."""
        result = await self.attempt(tool, **arguments)
        assert isinstance(result, str), f"it was not refused: {result.text[:200]!r}"
        return result

    def put(self, name: str, content: str | bytes) -> Path:
        """A file of the workspace."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def files(self) -> list[str]:
        """Everything below the workspace; a temporary file that was left would be seen."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))
