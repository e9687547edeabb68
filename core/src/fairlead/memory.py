"""What authors of memories need beside `fairlead.Memory`: the two facets and what they hold."""

from fairlead._contracts import Journal, Recall, SessionInfo
from fairlead._work import Note

__all__ = ["Journal", "Note", "Recall", "SessionInfo"]
