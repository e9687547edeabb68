"""Policies as data: allow, deny, ask and revise by indexed rules.

Imports the public names of the core only; nothing imports this package. Its floors, from low to high: `_fields` (what a
condition reads), `_command` and `_conditions` (what it asks of that), `_revision`, `_rule` (one rule, ready to be
asked), `_options` (rules from the configuration), `_index` (which rules can speak at a crossing), `_policy`.
"""

from fairlead_rules._policy import Rules

__all__ = ["Rules"]
