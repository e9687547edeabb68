"""One connection of the guest: request after request, until one of them is refused or becomes a tunnel."""

from __future__ import annotations

import traceback
from pathlib import Path

import h11
import trio

from fairlead_sandbox.egress._decisions import Decision, Refusal, Way
from fairlead_sandbox.egress._exchange import Exchange
from fairlead_sandbox.egress._grants import Target
from fairlead_sandbox.egress._head import Request, connect_target, parse_request, reverse_of, route
from fairlead_sandbox.egress._tunnel import tunnel
from fairlead_sandbox.egress._upstream import Upstream
from fairlead_sandbox.egress._ways import Ways
from fairlead_sandbox.egress._wire import Gone, Wire

__all__ = ["Conversation"]


class Conversation:
    """Serves one connection."""

    def __init__(self, ways: Ways, wire: Wire) -> None:
        self._ways = ways
        self._wire = wire
        self._kept: Upstream | None = None
        self._way: Way = "connection"
        self._target: Target | None = None
        self._method = ""

    async def run(self) -> None:
        """Serve until it ends. It raises nothing for what the guest does. The connection is left open."""
        try:
            await self._serve()
        except Gone:
            return
        except Refusal as refusal:
            await self._refuse(refusal)
        except Exception as error:  # noqa: BLE001  # no request may end the proxy of the others
            await self._refuse(Refusal(500, "internal", f"a fault of the proxy: {_where(error)}"))
        finally:
            if self._kept is not None:
                await self._kept.close()

    async def _serve(self) -> None:
        first = True
        while (head := await self._wire.read_head(self._ways.limits, first=first)) is not None:
            self._wire.started, self._way, self._target, self._method = False, "connection", None, ""
            http = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head) + self._ways.limits.head_bytes)
            request = parse_request(head, http)
            self._method = request.method
            if request.method == "CONNECT":
                self._way = "tunnel"
                self._target = connect_target(request)
                await tunnel(self._ways, self._wire, self._target)
                return
            await self._ask(request, http)
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            first = False

    async def _ask(self, request: Request, http: h11.Connection) -> None:
        self._way = "websocket" if request.is_websocket else "request"
        found = route(request)
        if not self._ways.grants.covers(found.target):
            found = reverse_of(request, found)
        self._target = found.target
        self._ways.check_route(found)
        exchange = Exchange(self._ways, self._wire, http, request, found, self._kept)
        try:
            await exchange.run()
        finally:  # where it never came to the server, the connection from before is still there to be closed
            self._kept = exchange.upstream

    async def _refuse(self, refusal: Refusal) -> None:
        await trio.sleep(self._ways.limits.refusal_seconds)
        target = self._target
        host, port = (target.host, target.port) if target else ("", 0)
        self._ways.on_decision(Decision(False, host, port, refusal.reason, self._way, detail=str(refusal)))
        if not self._wire.started:
            try:
                await self._wire.send(refusal.answer(with_body=self._method != "HEAD"))
            except Gone:
                return
            await self._wire.drain()


def _where(error: Exception) -> str:
    """Kind and place of a fault, without its words: they may have a secret."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    places = traceback.extract_tb(error.__traceback__)[-3:]
    return f"{type(error).__name__} at {', '.join(f'{Path(place.filename).name}:{place.lineno}' for place in places)}"
