"""An offline provider that answers without a model and says so.

Imports the public names of the core only; nothing imports this package. Its floors, from low to high: `_wish` (what is
asked), `_dates` and `_arithmetic` (what they recognise), `_programs` (computations as code), `_bench` (requests for
programs, files, pages), `_reading` (a text into wishes), `_choosing` (the tool for a wish), `_answering` (results into
sentences), `_structured`, `_provider`.
"""

from fairlead_rehearsal._provider import Rehearsal

__all__ = ["Rehearsal"]
