"""Date and time tools.

Imports the public names of the core only; nothing imports this package. Its floors, from low to high: `_dates` (what is
read from arguments), `_tool`.
"""

from fairlead_clock._tool import Clock

__all__ = ["Clock"]
