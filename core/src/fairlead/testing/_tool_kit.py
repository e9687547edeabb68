"""The promises of a tool."""

from __future__ import annotations

from fairlead.testing._tool_calls import ToolCalls
from fairlead.testing._tool_effects import ToolEffects
from fairlead.testing._tool_hostile import ToolHostility
from fairlead.testing._tool_specs import ToolSpecs

__all__ = ["ToolConformance"]


class ToolConformance(ToolSpecs, ToolCalls, ToolHostility, ToolEffects):
    """Subclass it and override `make_worker`; `example` where a schema has no ``examples``.

    More is proven with `slow_example`, `failing_example`, `large_example` (arguments that take long, fail, say much),
    `state` (what the tools can change; as it is, the files below `tmp_path`) and `secret`.
    """
