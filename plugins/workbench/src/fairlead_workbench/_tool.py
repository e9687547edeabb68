"""The worker: one call is one program or one file. Nothing is kept between two calls but the workspace."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

import trio

from fairlead import Finding, Tool, ToolCall, ToolContext, ToolResult, ToolSpec
from fairlead.errors import ToolError
from fairlead_workbench import _files, _programs
from fairlead_workbench._faults import tool_error
from fairlead_workbench._options import Options
from fairlead_workbench._specs import SPECS
from fairlead_workbench.bare import Refusal, Workspace

__all__ = ["Workbench"]

VARIABLE = "FAIRLEAD_WORKSPACE"
WRITING = frozenset({"write_file", "edit_file"})
FILES: dict[str, Callable[[Workspace, ToolCall, Options], ToolResult | str]] = {
    "read_file": _files.read_file,
    "write_file": _files.write_file,
    "edit_file": _files.edit_file,
    "list_files": _files.list_files,
    "send_file": _files.send_file,
}


class Workbench(Tool):
    """Offers shell, Python and files of the session's workspace."""

    def __init__(self, options: Options | None = None, workspace: str | None = None) -> None:
        """`workspace`: a directory; without it the one that ``FAIRLEAD_WORKSPACE`` names, else the current one."""
        self._options = options or Options()
        self._workspace = workspace

    def specs(self) -> Sequence[ToolSpec]:
        """Those that the table offers."""
        offered = self._options.tools
        return tuple(spec for spec in SPECS if offered is None or spec.name in offered)

    async def check(self) -> Sequence[Finding]:
        """Whether the workspace is there."""
        try:
            root = self._root()
        except ToolError as error:
            return (Finding(self.name, ok=False, detail="the current directory is gone", next_step=error.next_step),)
        if os.access(root, os.R_OK | os.W_OK | os.X_OK):
            return (Finding(self.name, ok=True, detail=f"works in {root}"),)
        return (Finding(self.name, ok=False, detail=f"cannot write in {root}", next_step=f"mkdir -p {root}"),)

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult | str:
        """Do it. `ToolError`: what was wrong with a path, a file or a pattern, and what to try next.

        Cancelled: its programs are killed; a file that was being written has its old content or its new one.
        """
        if call.tool not in {spec.name for spec in self.specs()}:
            raise tool_error(f"no tool {call.tool!r} is offered here")
        root = self._root()
        try:
            workspace = Workspace(root)
            if call.tool in FILES:
                work = partial(FILES[call.tool], workspace, call, self._options)
                # A thread that only reads may be left behind; one that writes is waited for.
                return await trio.to_thread.run_sync(work, abandon_on_cancel=call.tool not in WRITING)
            os.close(workspace.open_root())
            if call.tool == "search_files":
                return await _programs.search(workspace.root, call, self._options)
            run = _programs.shell if call.tool == "shell" else _programs.python
            return await run(workspace.root, call, self._options, context.progress)
        except Refusal as refusal:
            raise tool_error(refusal.problem, refusal.next_step) from None

    def _root(self) -> str:
        """Absolute. `ToolError`: it is the current directory, and that is gone."""
        try:
            return os.path.abspath(self._workspace or os.environ.get(VARIABLE) or ".")  # noqa: PTH100  # as text
        except FileNotFoundError as error:
            raise tool_error("the current directory is gone", f"set {VARIABLE}") from error
