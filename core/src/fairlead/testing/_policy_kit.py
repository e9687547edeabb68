"""The promises of a policy."""

from __future__ import annotations

from fairlead.testing._policy_bounds import BoundChecks
from fairlead.testing._policy_same import DecisionChecks
from fairlead.testing._policy_verdicts import VerdictChecks

__all__ = ["PolicyConformance"]


class PolicyConformance(VerdictChecks, DecisionChecks, BoundChecks):
    """Subclass it and override `make_worker`; `reviews` where the policy looks for something special.

    More hooks have more proven; without them a check says that it does not apply (`applies()` lists all of these):

    - ``denied()``: reviews that it must deny
    - ``make_narrower(tmp_path)``: the same policy with one restriction more
    - ``lesser()``: pairs of reviews, the second with less authority
    - ``secrets()``: the secrets of the settings, which must not be shown
    """
