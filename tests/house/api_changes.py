"""Changes of the public API that the rules take for a break, and that break nobody."""

from __future__ import annotations

DECLARED: dict[str, dict[str, str]] = {
    "1.1": {
        "fairlead.App.ask": "Content is a name for the words and parts that it was",
        "fairlead.config.Config.agents": "the default agent has one more field, with its default",
        "fairlead.config.Config.lanes": "the default limits have one more field, with its default",
        "fairlead.config.Config.limits": "the default limits have more fields, with their defaults",
        "fairlead.testing.ToolConformance.context": "what authors give, a FakeToolContext, is a ToolContext",
        "fairlead.testing.ToolConformance.example": "Arguments is a name for the mapping that it was",
        "schema plugin-manifest .api": "a range is a new form beside the old one, which means what it meant",
    },
}
"""By the version that has the change: its name, as the test gives it, and why nobody is broken by it."""
