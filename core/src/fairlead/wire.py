"""JSON at the boundaries: strict reading, the published schemas, and frozen data to JSON and back."""

from fairlead._codec import decode_event, encode_event, loads, structure, unstructure
from fairlead._schemas import build_validator, check, load_schema, schema_names

__all__ = [
    "build_validator",
    "check",
    "decode_event",
    "encode_event",
    "load_schema",
    "loads",
    "schema_names",
    "structure",
    "unstructure",
]
