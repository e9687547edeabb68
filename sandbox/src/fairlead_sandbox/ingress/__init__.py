"""The way in: addresses of the host at which the listener of one isolated plugin is reached.

The guest dials. It keeps some connections to a Unix socket of the host waiting (`fairlead_sandbox.inside._admit`); when
somebody connects to a granted address, the host takes one of them, says which port is meant, and passes bytes both ways
once the guest has reached its own listener there. So one socket that the guest may connect to is all that it needs,
which a read-only mount gives to processes and containers alike, and the host connects to nothing that a guest made.

The plugin sees every client at its own loopback: who the client is, only the client can say.

Floors, from low to high: `_limits`, `_entrances`, `_seats`, `_waiting`; `_splice`; `_ingress`.
"""

from fairlead_sandbox.ingress._entrances import Entrance, as_reached, parse_entrance
from fairlead_sandbox.ingress._ingress import Ingress
from fairlead_sandbox.ingress._limits import IngressLimits

__all__ = ["Entrance", "Ingress", "IngressLimits", "as_reached", "parse_entrance"]
