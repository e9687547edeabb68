"""From what a sandbox says of a call to what the model and the journal get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from fairlead import Text, ToolCall, ToolResult, ToolSpec
from fairlead.errors import FairleadError, IsolationUnavailable, SchemaError, ToolError
from fairlead_sandbox.errors import BoundaryBroken, SandboxLost, Timeout
from fairlead_sandbox.remote import parsed
from fairlead_sandbox.runner import Outcome

__all__ = ["failure", "kept", "result_from"]

WORDS = 2000
"""Characters of what a call wrote to its standard error that stand beside its error."""
KEYS = ("level", "container", "image", "runtime", "network", "user", "memory_bytes", "cpus", "pids", "seccomp")
"""Of a container's evidence, as the journal keeps it with each result."""


def kept(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """What of a container's evidence stands beside each result."""
    return {key: evidence[key] for key in KEYS if key in evidence}


def result_from(
    call: ToolCall, spec: ToolSpec, outcome: Outcome, evidence: Mapping[str, Any], warning: str = ""
) -> ToolResult:
    """The result of a call that ran. `warning`: what the model must know beside it."""
    result = _result(call, spec, outcome, evidence)
    return evolve(result, parts=(*result.parts, Text(f"Note: {warning}"))) if warning else result


def _result(call: ToolCall, spec: ToolSpec, outcome: Outcome, evidence: Mapping[str, Any]) -> ToolResult:
    usage = outcome.usage
    proof = kept(evidence) | {
        "cpu_seconds": round(usage.cpu_seconds, 4),
        "peak_bytes": usage.peak_bytes,
        "wall_seconds": round(usage.wall_seconds, 4),
    }
    if outcome.repeated:
        proof["repeated"] = True
    if outcome.error is not None:
        return evolve(failure(call, spec, outcome.error, outcome.stderr), evidence=proof)
    try:
        return evolve(_value(call, outcome.value), evidence=proof)
    except SchemaError as error:
        problem = f"the tool gave no result: {error.problem}"
        return ToolResult(call.id, call.tool, (Text(problem),), "failed", evidence=proof)


def _value(call: ToolCall, value: Any) -> ToolResult:
    if isinstance(value, str):
        return ToolResult(call.id, call.tool, (Text(value),))
    if not isinstance(value, dict):
        raise SchemaError(f"expected text or a result, found {type(value).__name__}", schema="message")
    return parsed({**value, "call": call.id, "tool": call.tool, "evidence": {}}, ToolResult)


def failure(call: ToolCall, spec: ToolSpec, error: FairleadError, stderr: str = "") -> ToolResult:
    """The result of a call that failed, in words for the model: what kind of failure, why, and what it said last."""
    if isinstance(error, ToolError):
        return ToolResult(call.id, call.tool, (Text(error.problem),), "failed")
    kind = "failed"
    if isinstance(error, IsolationUnavailable):
        kind = "isolation"
    elif isinstance(error, SandboxLost | BoundaryBroken | Timeout):
        kind = "unknown" if spec.effect == "once" else "timeout" if isinstance(error, Timeout) else "failed"
    text = f"{type(error).__name__}: {error.problem}"
    if error.next_step:
        text += f" Next: {error.next_step}"
    if said := stderr.strip()[-WORDS:]:
        text += f"\n{said}"
    return ToolResult(call.id, call.tool, (Text(text),), kind)
