"""A plugin that runs elsewhere: its hello, what it says of its workers, and the life of each of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import define

from fairlead import Capabilities, Finding, Secret, ToolSpec
from fairlead.errors import PluginLoadError, SchemaError
from fairlead.types import Boundary, Isolation
from fairlead_sandbox.boundary import Call, Peer
from fairlead_sandbox.errors import SandboxError
from fairlead_sandbox.remote._data import parsed, parsed_list

__all__ = ["Facts", "Far", "RemotePlugin", "options_for_guest"]

PROTOCOL = 1
_MAX_WORKERS = 100
_MAX_TOOLS = 1000
_MAX_FINDINGS = 1000
_MAX_CREDENTIALS = 1000
_BOUNDARIES: frozenset[Boundary] = frozenset(("message_in", "model_request", "tool_call", "tool_result", "message_out"))


@define
class Facts:
    """What the core must know of a worker before it uses it; None where the worker has not said it."""

    capabilities: Capabilities | None = None
    specs: tuple[ToolSpec, ...] | None = None
    boundaries: frozenset[Boundary] | None = None
    credentials: tuple[str, ...] | None = None
    settles: bool = False
    journal: bool = False
    recall: bool = False


@define
class Listed:
    """A worker as the plugin described it, and as it is now."""

    kind: str
    name: str
    """As the core calls it, whatever the plugin says."""
    facts: Facts
    opened: bool = False


class RemotePlugin:
    """One table's plugin in a process or a container.

    `hello` is what the plugin is told first (`guest`): kind, name, entry_point, runtime, settings, egress. `link`
    gives a peer that `prepare` was run on, and starts the process where there is none; it may raise
    `PluginQuarantined`, `SandboxLost` and the like, which the methods of the workers then raise. `level`: where it
    runs. `evidence` gives what proves it, for the results of its tools, and `figures` what it uses.
    """

    def __init__(
        self,
        hello: Mapping[str, Any],
        link: Callable[[], Awaitable[Peer]],
        *,
        level: Isolation,
        evidence: Callable[[], Mapping[str, Any]] = dict,
        figures: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self.hello = dict(hello)
        self.link = link
        self.level: Isolation = level
        self.evidence = evidence
        self.figures = figures
        self.greeting: Mapping[str, Any] = {}
        """What the process said of itself: pid and version of Python. Not evidence: it may say anything."""
        self._listed: list[Listed] | None = None
        self._peer: Peer | None = None

    @property
    def subject(self) -> str:
        """``kind/name``, as the configuration has it."""
        return f"{self.hello['kind']}/{self.hello['name']}"

    async def serve(self, op: str, args: Mapping[str, Any], call: Call) -> Any:
        """Give this to the `Peer`: nothing is offered to a plugin outside of a call."""
        raise SandboxError(f"nothing is offered here under the name {op!r}")

    async def prepare(self, peer: Peer) -> None:
        """Make a fresh process ready: hello, describe, and open again what was open.

        Run it after every start, before `link` gives the peer. `PluginLoadError`: the plugin's own code is at fault, or
        it is another one than before.
        """
        greeting = await peer.call("hello", self.hello)
        if type(greeting) is not dict or greeting.get("protocol") != PROTOCOL:
            raise self._broken(f"it speaks another protocol than {PROTOCOL}; its environment has to be made again")
        self.greeting = greeting
        listed = self._read(await peer.call("describe"))
        known = self._listed
        if known is None:
            self._listed = listed
        elif [each.kind for each in known] != [each.kind for each in listed]:
            raise self._broken("after a restart it has other workers than before")
        else:
            for number, each in enumerate(known):
                if each.opened and await self._open(peer, number) != each.facts:
                    raise self._broken(f"after a restart {each.name!r} is another one than before")
        self._peer = peer

    async def ping(self, peer: Peer) -> None:
        """Ask the process for nothing: it answers unless its event loop is blocked."""
        await peer.call("ping")

    async def workers(self) -> Mapping[str, Sequence[Any]]:
        """The plugin's workers by kind, ``observers`` among them: made, named, not yet opened.

        They are proxies: subclasses of `fairlead.Channel` and so on, in the plugin's order.

        Raises what `link` raises.
        """
        from fairlead_sandbox.remote._workers import REMOTE  # noqa: PLC0415  # each of them is made of a plugin

        await self.link()
        if self._listed is None:
            raise self._broken("it was started and not prepared")
        made: dict[str, list[Any]] = {self.hello["kind"]: [], "observers": []}
        for number, listed in enumerate(self._listed):
            far = Far(self, number)
            worker = REMOTE[listed.kind](far)
            worker.name, worker.level = listed.name, self.level
            worker.take(listed.facts)
            made[listed.kind].append(worker)
        return made

    # -- for the workers

    async def open(self, number: int, name: str) -> Facts:
        """Open one worker; what it then says of itself."""
        peer = await self.link()
        listed = self._worker(number)
        listed.name = name
        listed.facts = await self._open(peer, number)
        listed.opened = True
        return listed.facts

    async def close(self, number: int) -> None:
        """Close one worker. Where the process is gone there is nothing to be closed, and none is started for it."""
        self._worker(number).opened = False
        if self._peer is not None and self._peer.ended is None:
            await self._peer.call("close", {"worker": number})

    async def _open(self, peer: Peer, number: int) -> Facts:
        listed = self._worker(number)
        raw = await peer.call("open", {"worker": number, "name": listed.name})
        return _facts(listed.kind, raw)

    def _worker(self, number: int) -> Listed:
        assert self._listed is not None, "it was prepared"
        return self._listed[number]

    def _read(self, raw: Any) -> list[Listed]:
        """The workers of a description, named by their places."""
        told = raw.get("workers") if type(raw) is dict else None
        if type(told) is not list or len(told) > _MAX_WORKERS:
            raise self._broken(f"expected a list of at most {_MAX_WORKERS} workers as its description")
        listed: list[Listed] = []
        for each in told:
            kind = each.get("kind") if type(each) is dict else None
            if kind not in (self.hello["kind"], "observers"):
                raise self._broken(f"it has a worker of the kind {kind!r:.80}, expected {self.hello['kind']!r}")
            place = 1 + sum(other.kind == kind for other in listed)
            name = self.hello["name"] if place == 1 else f"{self.hello['name']}-{place}"
            listed.append(Listed(kind, name, _facts(kind, each.get("facts"))))
        return listed

    def _broken(self, problem: str) -> PluginLoadError:
        table = self.subject.replace("/", ".")
        off = f"tell its authors, and until then write enabled = false in [{table}]"
        return PluginLoadError(f"{self.subject}: {problem}", plugin=self.subject, next_step=off)


@define
class Far:
    """One worker of a plugin, as its proxy asks it."""

    plugin: RemotePlugin
    number: int

    async def call(self, op: str, args: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Ask the worker. Raises what `RemotePlugin.link` and `Peer.call` raise."""
        peer = await self.plugin.link()
        return await peer.call(op, {"worker": self.number, **(args or {})}, **more)

    async def open(self, name: str) -> Facts:
        return await self.plugin.open(self.number, name)

    async def close(self) -> None:
        await self.plugin.close(self.number)

    async def check(self) -> Sequence[Finding]:
        return parsed_list(await self.call("check"), Finding, _MAX_FINDINGS)


def _facts(kind: str, raw: Any) -> Facts:
    """`SchemaError`: what a worker says of itself is not of its kind."""
    raw = raw if type(raw) is dict else {}
    facts = Facts()
    if kind == "channels" and "capabilities" in raw:
        facts.capabilities = parsed(raw["capabilities"], Capabilities)
    elif kind == "tools" and "specs" in raw:
        facts.specs = tuple(parsed_list(raw["specs"], ToolSpec, _MAX_TOOLS))
    elif kind == "policies" and "boundaries" in raw:
        asked = raw["boundaries"]
        if type(asked) is not list or not all(type(each) is str and each in _BOUNDARIES for each in asked):
            problem = f"the plugin gave {str(asked)[:200]!r} as boundaries, expected some of {sorted(_BOUNDARIES)}"
            raise SchemaError(problem, schema="boundary", next_step="tell the plugin's authors")
        facts.boundaries, facts.settles = frozenset(asked), raw.get("settles") is True
    elif kind == "providers" and "credentials" in raw:
        named = raw["credentials"]
        if type(named) is not list or not 0 < len(named) <= _MAX_CREDENTIALS or not all(type(n) is str for n in named):
            problem = f"the plugin gave {str(named)[:200]!r} as credentials, expected a list of names"
            raise SchemaError(problem, schema="boundary", next_step="tell the plugin's authors")
        facts.credentials = tuple(named)
    elif kind == "memories":
        facts.journal, facts.recall = raw.get("journal") is True, raw.get("recall") is True
    return facts


def options_for_guest(value: Any, handle: Callable[[Secret], str]) -> Any:
    """A plugin's options as JSON for its hello: each secret becomes a handle, and its value stays here."""
    if isinstance(value, Secret):
        return {"$secret": handle(value), "source": value.source}
    if isinstance(value, Mapping):
        return {key: options_for_guest(each, handle) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [options_for_guest(each, handle) for each in value]
    return value
