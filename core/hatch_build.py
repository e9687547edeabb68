"""Puts the checkout's `schemas/` into the wheel and the sdist of the core, and the pytest plugin beside the package.

An editable build needs no copy of the schemas (the loader finds the checkout), and a build from an sdist has them.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SchemasHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's own plugins leave the parameter out
    """Called by hatchling for each distribution that it builds."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        self._made = Path(tempfile.mkdtemp())
        if self.target_name == "wheel":
            # A copy: hatchling takes a file that is included under another name out of its own place.
            shutil.copy(root / "src/fairlead/testing/_pytest.py", self._made / "fairlead_pytest.py")
            build_data["force_include"][str(self._made / "fairlead_pytest.py")] = "fairlead_pytest.py"
        schemas = root.parent / "schemas"
        in_sdist = (root / "src/fairlead/schemas").is_dir()
        if version == "editable" or in_sdist or not schemas.is_dir():
            return
        target = "fairlead/schemas" if self.target_name == "wheel" else "src/fairlead/schemas"
        build_data["force_include"][str(schemas)] = target

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(self._made, ignore_errors=True)
