"""Isolation backends: what this machine can offer to code that the host must not run.

This version only looks: it runs nothing in isolation, and the core refuses tools whose floor it cannot give. Imports
the public names of the core only; nothing imports this package.
"""

from fairlead_sandbox._survey import survey

__all__ = ["survey"]
