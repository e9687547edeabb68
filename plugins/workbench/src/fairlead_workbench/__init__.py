"""Tools that work in the session's own directory: shell, Python, files. They run in a container.

Imports the public names of the core only; nothing imports this package. Its floors, from low to high: `bare` (what runs
with the standard library alone), `_options`, `_output` and `_remnants`, `_running` (a program to its end), `_specs`,
`_programs` and `_files` (the tools), `_tool`.
"""

from fairlead_workbench._options import Options
from fairlead_workbench._tool import Workbench

__all__ = ["Options", "Workbench"]
