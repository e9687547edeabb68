"""The end of a call, as it came over the channel, to an `Outcome` with its typed error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fairlead.errors import FairleadError, PluginLoadError, ToolError
from fairlead_sandbox.errors import (
    BoundaryBroken,
    Killed,
    OutOfMemory,
    OutputLimit,
    PidLimit,
    SandboxError,
    SandboxLost,
    Timeout,
)
from fairlead_sandbox.runner._data import Outcome, Usage, Work

__all__ = ["load_error", "outcome_of"]

SIGNALS = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}
Make = Callable[[str, Mapping[str, Any], str], FairleadError]


def outcome_of(frame: Mapping[str, Any], work: Work, stdout: str, stderr: str) -> Outcome:
    """`BoundaryBroken`: the frame is not what an end must be."""
    try:
        usage = frame["usage"]
        error: Mapping[str, Any] | None = frame.get("error")
        value = frame["value"] if error is None else frame.get("value")
        return Outcome(
            value=value,
            error=_ERRORS[error["kind"]](work.tool, error, stderr) if error is not None else None,
            stdout=stdout,
            stderr=stderr,
            usage=Usage(
                cpu_seconds=float(usage.get("cpu_seconds", 0)),
                peak_bytes=int(usage.get("peak_bytes", 0)),
                wall_seconds=float(usage.get("wall_seconds", 0)),
            ),
            repeated=frame["repeated"],
            cancelled=error is not None and error["kind"] == "cancelled",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise BoundaryBroken(f"the end of the call {work.id!r} is malformed: {fault!r}") from fault


def load_error(problem: Mapping[str, Any]) -> PluginLoadError:
    """What a sandbox says of plugins that it could not load."""
    kind = f"{problem['class']}: " if problem["class"] else ""
    error = PluginLoadError(f"loading it in its sandbox failed: {kind}{problem['problem']}")
    error.plugin = f"tools/{problem['table']}" if problem["table"] else ""
    if problem["trace"]:
        error.add_note(str(problem["trace"]))
    return error


def _load(_tool: str, error: Mapping[str, Any], _words: str) -> FairleadError:
    return load_error(error)


def _tool(_tool: str, error: Mapping[str, Any], _words: str) -> FairleadError:
    return ToolError(str(error["problem"]), next_step=str(error.get("next_step", "")))


def _failed(tool: str, error: Mapping[str, Any], words: str) -> FairleadError:
    text = f"the tool {tool!r} raised {error['class']}: {error['problem']}"
    return SandboxError(text, last_words=str(error.get("trace") or words))


def _timeout(tool: str, error: Mapping[str, Any], words: str) -> FairleadError:
    seconds = float(error["seconds"])
    return Timeout(f"the tool {tool!r} took longer than {seconds:g} s", seconds=seconds, last_words=words)


def _memory(tool: str, error: Mapping[str, Any], words: str) -> FairleadError:
    limit = int(error["limit"])
    most = f" (at most {limit} bytes)" if limit else ""
    return OutOfMemory(f"the tool {tool!r} ran out of memory{most}", limit_bytes=limit, last_words=words)


def _output(tool: str, error: Mapping[str, Any], words: str) -> FairleadError:
    limit = int(error["limit"])
    return OutputLimit(f"the tool {tool!r} wrote more than {limit} bytes", limit_bytes=limit, last_words=words)


def _pids(tool: str, error: Mapping[str, Any], words: str) -> FairleadError:
    text = f"the tool {tool!r} made more processes or threads than it may"
    return PidLimit(text, limit=int(error["limit"]), last_words=words)


def _killed(tool: str, error: Mapping[str, Any], words: str) -> FairleadError:
    number = int(error["signal"])
    text = f"the tool {tool!r} was ended by signal {number}{f' ({SIGNALS[number]})' if number in SIGNALS else ''}"
    return Killed(text, signal=number, last_words=words)


def _exited(tool: str, error: Mapping[str, Any], words: str) -> FairleadError:
    text = f"the tool {tool!r} ended with exit status {int(error['status'])} and without a result"
    return SandboxError(text, last_words=words)


def _broken(tool: str, error: Mapping[str, Any], words: str) -> FairleadError:
    return BoundaryBroken(f"the tool {tool!r} broke the protocol: {error['problem']}", last_words=words)


def _cancelled(tool: str, _error: Mapping[str, Any], words: str) -> FairleadError:
    return SandboxError(f"the tool {tool!r} was cancelled", last_words=words)


def _interrupted(tool: str, _error: Mapping[str, Any], _words: str) -> FairleadError:
    text = f"the tool {tool!r} was started before and did not come to its end: whether it had its effect is not known"
    return SandboxLost(text, next_step="look whether it had its effect, then call it again if not")


def _refused(tool: str, error: Mapping[str, Any], _words: str) -> FairleadError:
    return SandboxError(f"the tool {tool!r} was not called: {error['problem']}")


_ERRORS: dict[str, Make] = {
    "tool": _tool,
    "failed": _failed,
    "timeout": _timeout,
    "memory": _memory,
    "output": _output,
    "pids": _pids,
    "killed": _killed,
    "exited": _exited,
    "broken": _broken,
    "cancelled": _cancelled,
    "interrupted": _interrupted,
    "refused": _refused,
    "load": _load,
}
