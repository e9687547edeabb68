"""The way out: a proxy on the host for one container or process, closed but for what the configuration grants.

Floors, from low to high: `_limits`, `_decisions`, `_grants`, `_addresses`, `_client_hello`, `_veil`; `_dialer`,
`_secrets`, `_wire`, `_head`, `_websocket`; `_splice`, `_ways`, `_upstream`, `_headers`; `_tunnel`, `_exchange`;
`_conversation`; `_proxy`. The guest's end is `fairlead_sandbox.inside._forward`.
"""

from fairlead_sandbox.egress._decisions import Decision
from fairlead_sandbox.egress._grants import Grant, parse_grant
from fairlead_sandbox.egress._limits import EgressLimits
from fairlead_sandbox.egress._proxy import Egress
from fairlead_sandbox.egress._secrets import SecretGrant, new_handle

__all__ = ["Decision", "Egress", "EgressLimits", "Grant", "SecretGrant", "new_handle", "parse_grant"]
