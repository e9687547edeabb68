"""What all connections of one guest share: what it may do, and the ways out."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import trio
from attrs import frozen

from fairlead_sandbox.egress._decisions import Decision, Refusal, Way, shown
from fairlead_sandbox.egress._dialer import Dialed, Dialer
from fairlead_sandbox.egress._grants import Grants, Target
from fairlead_sandbox.egress._head import Route
from fairlead_sandbox.egress._limits import EgressLimits
from fairlead_sandbox.egress._secrets import Secrets
from fairlead_sandbox.egress._splice import Traffic

__all__ = ["Ways"]

PLAIN_PORT = 80


@frozen
class Ways:
    """Of one proxy."""

    grants: Grants
    secrets: Secrets
    dialer: Dialer
    tls: Callable[[], ssl.SSLContext]
    limits: EgressLimits
    on_decision: Callable[[Decision], None]

    def check(self, target: Target) -> None:
        """`Refusal`: it is not granted."""
        if not self.grants.covers(target):
            raise Refusal(
                403,
                "not-granted",
                f"{target} is not granted",
                next_step=f'write hosts = ["{target}"] into the table of the plugin in the configuration',
            )

    def check_tunnel(self, target: Target) -> None:
        """`Refusal`: it is not granted, or it gets secrets: what comes back through a tunnel nobody can read."""
        self.check(target)
        if self.secrets.reach(target):
            raise Refusal(
                403,
                "secret-tunnel",
                f"a secret is granted for {target}, so no tunnel leads there",
                next_step=f"use $FAIRLEAD_EGRESS/https/{target}/ as the base of its addresses",
            )

    def check_route(self, route: Route) -> None:
        """`Refusal`: it is not granted, or goes without TLS to where TLS is spoken."""
        self.check(route.target)
        if not route.tls and not route.target.literal and route.target.port != PLAIN_PORT:
            raise Refusal(
                403,
                "plain",
                f"{route.target} is reached with TLS only; without it only port {PLAIN_PORT}, and granted addresses",
                next_step=f"use https, or the address $FAIRLEAD_EGRESS/https/{route.target}/",
            )

    def opened(self, target: Target, way: Way, address: str) -> None:
        """Tell that a way is open now."""
        self.on_decision(Decision(True, target.host, target.port, "granted", way, address=address))

    def closed(self, target: Target, way: Way, address: str, traffic: Traffic) -> None:
        """Tell that it has ended, and what went through."""
        self.on_decision(
            Decision(
                True,
                target.host,
                target.port,
                "granted",
                way,
                address=address,
                closed=True,
                bytes_up=traffic.up,
                bytes_down=traffic.down,
            )
        )

    async def dial(self, route: Route) -> tuple[trio.abc.Stream, str]:
        """A connection with TLS where the route wants it, and its address.

        `Refusal`: nobody is there, or it is not who it should be.
        """
        dialed = await self.dialer.dial(route.target)
        if not route.tls:
            return dialed.stream, dialed.address
        return await self._with_tls(dialed, route), dialed.address

    async def _with_tls(self, dialed: Dialed, route: Route) -> trio.abc.Stream:
        stream = trio.SSLStream(dialed.stream, self.tls(), server_hostname=route.target.host, https_compatible=True)
        problem = f"no answer in {self.limits.connect_seconds:g} s"
        try:
            with trio.move_on_after(self.limits.connect_seconds):
                await stream.do_handshake()
                return stream
        except trio.BrokenResourceError as error:
            problem = _reason(error.__cause__)
        except BaseException:
            await trio.aclose_forcefully(dialed.stream)
            raise
        await trio.aclose_forcefully(dialed.stream)
        raise Refusal(502, "tls", f"{route.target} does not speak TLS as {route.target.host}: {problem}")


def _reason(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return shown(f"its certificate is not accepted ({error.verify_message})")
    if isinstance(error, ssl.SSLError):
        return shown(error.reason or "the handshake failed")
    return "the connection broke"
