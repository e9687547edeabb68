"""Puts the checkout's `schemas/` into the wheel and the sdist of the core.

An editable build needs no copy (the loader finds the checkout), and a build from an sdist has the files already.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SchemasHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's own plugins leave the parameter out
    """Called by hatchling for each distribution that it builds."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        schemas = root.parent / "schemas"
        in_sdist = (root / "src/fairlead/schemas").is_dir()
        if version == "editable" or in_sdist or not schemas.is_dir():
            return
        target = "fairlead/schemas" if self.target_name == "wheel" else "src/fairlead/schemas"
        build_data["force_include"][str(schemas)] = target
