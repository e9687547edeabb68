"""What a call in a sandbox becomes for the model and the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fairlead import ToolCall, ToolSpec
from fairlead.errors import FairleadError, ToolError
from fairlead_sandbox.errors import (
    BoundaryBroken,
    EngineUnavailable,
    ImageMissing,
    Killed,
    OutOfMemory,
    OutputLimit,
    PidLimit,
    PluginQuarantined,
    SandboxError,
    SandboxLost,
    Timeout,
)
from fairlead_sandbox.isolator._results import failure, result_from
from fairlead_sandbox.runner import Outcome, Usage

CALL = ToolCall("c1", "act", {})
PARAMETERS: Mapping[str, Any] = {"type": "object"}
ONCE = ToolSpec("act", "Acts.", PARAMETERS)
READ = ToolSpec("act", "Looks.", PARAMETERS, effect="read")
EVIDENCE = {"level": "container", "container": "a" * 64, "network": "none", "mounts": ["/work:rw"]}


@pytest.mark.parametrize(
    ("error", "once", "read"),
    [
        (SandboxLost("gone"), "unknown", "failed"),
        (BoundaryBroken("garbage"), "unknown", "failed"),
        (Timeout("late", seconds=1.0), "unknown", "timeout"),
        (OutOfMemory("much"), "failed", "failed"),
        (OutputLimit("loud"), "failed", "failed"),
        (PidLimit("many"), "failed", "failed"),
        (Killed("dead", signal=9), "failed", "failed"),
        (SandboxError("wrong"), "failed", "failed"),
        (EngineUnavailable("silent"), "isolation", "isolation"),
        (ImageMissing("empty"), "isolation", "isolation"),
        (PluginQuarantined("again"), "failed", "failed"),
        (ToolError("no such thing"), "failed", "failed"),
    ],
)
def test_failure_says_whether_it_may_have_had_its_effect(error: FairleadError, once: str, read: str) -> None:
    """What must not happen twice is unknown where nobody saw its end; else the kind of the failure is told."""
    assert (once, read) == (failure(CALL, ONCE, error).error, failure(CALL, READ, error).error)


def test_failure_names_its_class_and_the_next_command() -> None:
    """The words of a tool stand for themselves."""
    error = EngineUnavailable("no engine answers", next_step="dockerd")
    assert "EngineUnavailable: no engine answers Next: dockerd" == failure(CALL, READ, error).text
    assert "no such thing" == failure(CALL, READ, ToolError("no such thing")).text
    assert "Killed: dead\nlast words" == failure(CALL, READ, Killed("dead"), " last words\n").text


def test_result_has_the_evidence_and_the_usage() -> None:
    """Of the sandbox, and not what the tool says of itself."""
    value = {"call": "another", "tool": "x", "parts": [{"type": "text", "text": "ok"}], "evidence": {"level": "kernel"}}
    result = result_from(CALL, ONCE, Outcome(value=value, usage=Usage(0.5, 1000, 2.0)), EVIDENCE)
    assert ("c1", "act", "ok", "") == (result.call, result.tool, result.text, result.error)
    expected = {"level": "container", "container": "a" * 64, "network": "none"}
    assert expected | {"cpu_seconds": 0.5, "peak_bytes": 1000, "wall_seconds": 2.0} == result.evidence


def test_repeated_result_says_so() -> None:
    """It was answered from the record."""
    result = result_from(CALL, ONCE, Outcome(value="ok", repeated=True), EVIDENCE)
    assert ("ok", True) == (result.text, result.evidence["repeated"])


def test_failed_call_has_the_evidence_too() -> None:
    """Where it ran is known, whatever became of it."""
    result = result_from(CALL, READ, Outcome(error=OutOfMemory("much"), stderr="MemoryError"), EVIDENCE)
    assert ("failed", "container") == (result.error, result.evidence["level"])
    assert result.text.endswith("MemoryError")


@pytest.mark.parametrize("value", [None, 3, [], {"parts": "x"}, {"parts": [{"type": "strange"}]}])
def test_value_that_is_no_result_is_a_failure(value: Any) -> None:
    """It is told as one, with the evidence."""
    result = result_from(CALL, READ, Outcome(value=value), EVIDENCE)
    assert ("failed", "container") == (result.error, result.evidence["level"])
    assert "the tool gave no result" in result.text
