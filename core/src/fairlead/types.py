"""Types that only annotations need: what the fields and parameters of the public classes are."""

from fairlead._message import Part
from fairlead._policy import Explanation
from fairlead._store import SessionStore
from fairlead._work import Boundary, Effect, Emit, Isolation, Progress, WorkClass

__all__ = ["Boundary", "Effect", "Emit", "Explanation", "Isolation", "Part", "Progress", "SessionStore", "WorkClass"]
