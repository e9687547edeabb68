"""Arithmetic by a parser, never by eval.

Imports the public names of the core only; nothing imports this package. Its floors, from low to high: `_numbers`
(values and their bounds), `_functions`, `_tokens`, `_parser`, `_tool`.
"""

from fairlead_calculator._parser import calculate
from fairlead_calculator._tool import Calculator

__all__ = ["Calculator", "calculate"]
