"""Errors for the model."""

from __future__ import annotations

from fairlead.errors import ToolError

__all__ = ["tool_error"]


def tool_error(problem: str, next_step: str = "") -> ToolError:
    """The model is shown the problem alone, so the next step stands in it as well."""
    return ToolError(f"{problem}. Next: {next_step}" if next_step else problem, next_step=next_step)
