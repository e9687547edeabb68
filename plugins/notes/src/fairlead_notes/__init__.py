"""Notes that an agent writes down and finds again.

Imports the public names of the core only; nothing imports this package.
"""

from fairlead_notes._tool import Notes

__all__ = ["Notes"]
