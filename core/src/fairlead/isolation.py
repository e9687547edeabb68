"""The extension point for isolation backends: how a plugin comes to run outside the host."""

from fairlead._isolation import Assignment, Isolator

__all__ = ["Assignment", "Isolator"]
