"""What runs with the standard library alone, also in the interpreters that the tools start.

Nothing here imports anything beside it: a fresh ``python3 -I`` has neither Fairlead nor its third parties, and starts
in 20 ms because of that. Its modules, from low to high: `_names` (how names are shown and matched), `_places` (paths
that stay in the workspace), `_looking` (walking), `_search` and `_notebook` (programs of their own).
"""

from ._looking import Found, Limits, walk
from ._names import matches, show
from ._places import Place, Refusal, Workspace, fault_of

__all__ = ["Found", "Limits", "Place", "Refusal", "Workspace", "fault_of", "matches", "show", "walk"]
