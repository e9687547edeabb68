"""The workers of a plugin that runs elsewhere: each is an ordinary worker of its kind, and passes everything on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve

from fairlead import (
    Address,
    Channel,
    Delivery,
    Draft,
    Finding,
    Inbound,
    Inbox,
    Memory,
    ModelAnswer,
    ModelInfo,
    ModelRequest,
    Observer,
    Outbound,
    Policy,
    Provider,
    Review,
    Text,
    Tool,
    ToolCall,
    ToolContext,
    ToolResult,
    ToolSpec,
    Usage,
    Verdict,
)
from fairlead.errors import BrokenStream, ProviderError, SchemaError
from fairlead.events import Record
from fairlead.memory import Note, Recall
from fairlead.types import Emit
from fairlead.wire import encode_event, unstructure
from fairlead_sandbox.boundary import Call
from fairlead_sandbox.errors import BoundaryBroken, SandboxError, SandboxLost
from fairlead_sandbox.remote._data import parsed, parsed_delta, parsed_list, plain
from fairlead_sandbox.remote._memory import RemoteJournal, RemoteRecall
from fairlead_sandbox.remote._plugin import Facts, Far

__all__ = [
    "REMOTE",
    "RemoteChannel",
    "RemoteMemory",
    "RemoteObserver",
    "RemotePolicy",
    "RemoteProvider",
    "RemoteTool",
]

_CREDIT = 16
"""Pieces of an answer that may be on their way."""
_MAX_MODELS = 10_000
_MAX_VERDICTS = 100
_MAX_NOTES = 1000
_MAX_PLACE = 2000
"""Characters of where a channel says that it can be reached."""


class _Remote:
    """What the proxies of all kinds have in common; each is a subclass of its contract as well."""

    name: str

    def __init__(self, far: Far) -> None:
        self._far = far

    def take(self, facts: Facts) -> None:
        """Set what the core reads from a worker of this kind."""

    async def open(self) -> None:
        """Open the worker in its process. Raises what it raises, typed as far as it may."""
        self.take(await self._far.open(self.name))

    async def close(self) -> None:
        """Close the worker in its process, where there is one."""
        await self._far.close()

    async def check(self) -> Sequence[Finding]:
        """What the worker says of itself. Where its process is gone, that is the finding."""
        try:
            return await self._far.check()
        except SandboxError as error:
            return (Finding(self._far.plugin.subject, ok=False, detail=error.problem, next_step="fairlead doctor"),)

    async def evidence(self) -> Mapping[str, Any]:
        """What proves where it runs. Raises what `RemotePlugin.link` raises."""
        await self._far.plugin.link()
        return dict(self._far.plugin.evidence())


class RemoteChannel(_Remote, Channel):
    """A channel that runs elsewhere."""

    reached: Callable[[str], str] = staticmethod(str)
    """From the place at which it says it is to what people are told. Whoever isolates it knows more than it does."""

    def take(self, facts: Facts) -> None:
        """`capabilities`."""
        if facts.capabilities is not None:
            self.capabilities = facts.capabilities

    async def run(self, inbox: Inbox) -> None:
        """Run it there; what it hands in is checked, and handed in here. A process that ends is an exception."""

        async def serve(op: str, args: dict[str, Any], _call: Call) -> Any:
            if op == "inbox.accept":
                return unstructure(await inbox.accept(parsed(args.get("inbound"), Inbound)))
            if op == "inbox.cancel":
                return await inbox.cancel(parsed(args.get("address"), Address))
            if op == "inbox.ready":
                return inbox.ready(self.reached(plain(args.get("where"), str, "a place")[:_MAX_PLACE]))
            raise SandboxError(f"a channel is not offered {op!r}")

        await self._far.call("channel.run", services=serve)

    async def send(self, outbound: Outbound) -> Delivery:
        """As the contract says; a process that ends meanwhile is an exception, and so an ambiguous delivery."""
        return parsed(await self._far.call("channel.send", {"outbound": unstructure(outbound)}), Delivery)

    async def edit(self, delivery: Delivery, outbound: Outbound) -> Delivery:
        """As the contract says."""
        args = {"delivery": unstructure(delivery), "outbound": unstructure(outbound)}
        return parsed(await self._far.call("channel.edit", args), Delivery)

    async def preview(self, draft: Draft) -> None:
        """As the contract says."""
        await self._far.call("channel.preview", {"draft": unstructure(draft)})


class RemoteProvider(_Remote, Provider):
    """A provider that runs elsewhere."""

    def take(self, facts: Facts) -> None:
        """`credentials`."""
        if facts.credentials is not None:
            self.credentials = facts.credentials

    async def models(self) -> Sequence[ModelInfo]:
        """As the contract says."""
        return parsed_list(await self._far.call("provider.models"), ModelInfo, _MAX_MODELS)

    async def generate(self, request: ModelRequest, emit: Emit) -> ModelAnswer:
        """As the contract says. While `emit` waits, the provider does, after a few pieces more."""
        peer = await self._far.plugin.link()
        args = {"worker": self._far.number, "request": unstructure(request)}
        begun = False
        try:
            async with peer.stream("provider.generate", args, credit=_CREDIT) as deltas:
                async for raw in deltas:
                    begun = True
                    await emit(parsed_delta(raw))
                return parsed(deltas.result, ModelAnswer)
        except (SandboxLost, BoundaryBroken) as error:
            # Not `ConnectionFailed`, which is tried again at once: what killed a process may well kill the next one.
            kind = BrokenStream if begun else ProviderError
            problem = f"the process of the provider {self.name!r} is gone: {error.problem} {error.last_words}".strip()
            raise kind(problem, provider=self.name, model=request.model, next_step="fairlead doctor") from error


class RemoteTool(_Remote, Tool):
    """A worker of tools that runs elsewhere."""

    _specs: tuple[ToolSpec, ...] | None = None

    def take(self, facts: Facts) -> None:
        """`specs`."""
        if facts.specs is not None:
            self._specs = facts.specs

    def specs(self) -> Sequence[ToolSpec]:
        """As it described them."""
        if self._specs is None:
            raise SandboxError(f"{self._far.plugin.subject} has not described its tools")
        return self._specs

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult | str:
        """Do it there. The result carries the evidence of where that was, which the plugin cannot set."""
        peer = await self._far.plugin.link()
        evidence = dict(self._far.plugin.evidence())  # now: the process may be another one when the answer is here
        args = {
            "worker": self._far.number,
            "call": unstructure(call),
            "session": context.session,
            "principal": unstructure(context.principal) if context.principal is not None else None,
            "recall": context.recall is not None,
            "now": context.now(),
        }
        raw = await peer.call("tool.call", args, services=_Services(context).serve)
        if type(raw) is str:
            return ToolResult(call.id, call.tool, (Text(raw),), evidence=evidence) if evidence else raw
        if type(raw) is dict:
            raw = {**raw, "call": call.id, "tool": call.tool, "evidence": evidence}
        return parsed(raw, ToolResult)


class _Services:
    """What a tool may ask for while it is called."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        principal = context.principal
        self._scope = principal.id if principal is not None else f"session:{context.session}"

    async def serve(self, op: str, args: dict[str, Any], call: Call) -> Any:
        if op == "progress":
            return await self._context.progress(plain(args.get("detail"), str, "what there is to tell")[:200])
        recall = self._context.recall
        if recall is None or not op.startswith("recall."):
            raise SandboxError(f"a tool is not offered {op!r} here")
        return await self._recall(recall, op, args)

    async def _recall(self, recall: Recall, op: str, args: dict[str, Any]) -> Any:
        if op == "recall.add":
            note = evolve(parsed(args.get("note"), Note), scope=self._scope)
            return unstructure(await recall.add(note))
        if op == "recall.search":
            query, limit = plain(args.get("query"), str, "a query"), plain(args.get("limit", 5), int, "a limit")
            found = await recall.search(self._scope, query, min(limit, _MAX_NOTES))
            return [unstructure(note) for note in found]
        if op == "recall.erase":
            note_id = plain(args["note"], str, "the id of a note") if "note" in args else None
            return await recall.erase(self._scope, note_id)
        raise SandboxError(f"a tool is not offered {op!r}")


class RemoteMemory(_Remote, Memory):
    """A memory that runs elsewhere."""

    def take(self, facts: Facts) -> None:
        """The facets that it offers."""
        self.journal = RemoteJournal(self._far) if facts.journal else None
        self.recall = RemoteRecall(self._far) if facts.recall else None


class RemotePolicy(_Remote, Policy):
    """A policy that runs elsewhere. The core counts one that is late, or gone, as a denial."""

    _settles = False

    def take(self, facts: Facts) -> None:
        """`boundaries`, and whether it keeps an account."""
        if facts.boundaries is not None:
            self.boundaries = facts.boundaries
        self._settles = facts.settles

    async def review(self, review: Review) -> Sequence[Verdict]:
        """As the contract says. Whatever name a verdict has, it counts as this policy's."""
        found = await self._far.call("policy.review", {"review": _review(review)})
        if type(found) is not list or len(found) > _MAX_VERDICTS:
            raise SchemaError(f"the plugin gave no list of at most {_MAX_VERDICTS} verdicts", schema="boundary")
        return [_verdict(raw, review) for raw in found]

    async def settle(self, review: Review, usage: Usage | None) -> None:
        """As the contract says; one that keeps no account is not told."""
        if self._settles:
            told = None if usage is None else unstructure(usage)
            await self._far.call("policy.settle", {"review": _review(review), "usage": told})


def _review(review: Review) -> dict[str, Any]:
    made: dict[str, Any] = {"boundary": review.boundary, "subject": unstructure(review.subject)}
    for name in ("session", "agent", "provider"):
        if getattr(review, name):
            made[name] = getattr(review, name)
    for name in ("principal", "address", "tool", "model"):
        if getattr(review, name) is not None:
            made[name] = unstructure(getattr(review, name))
    return made


def _verdict(raw: Any, review: Review) -> Verdict:
    """A verdict, whose revision is of the kind of its subject. `SchemaError`: it is none."""
    revised = raw.get("revised") if type(raw) is dict else None
    verdict = evolve(parsed(raw, Verdict), policy="")
    return verdict if revised is None else evolve(verdict, revised=_revised(revised, review.subject))


def _revised(raw: Any, subject: Any) -> Any:
    made: Any = parsed(raw, type(subject))
    if isinstance(subject, ModelRequest) and tuple(made.history) == tuple(subject.history):
        return evolve(made, history=subject.history)  # the same, also for whoever compares the two
    return made


class RemoteObserver(_Remote, Observer):
    """An observer that runs elsewhere: it is shown everything that passes, as one that runs here is."""

    async def observe(self, record: Record) -> None:
        """As the contract says."""
        line = encode_event(record.event).decode()
        await self._far.call("observer.observe", {"session": record.session, "version": record.version, "event": line})


REMOTE: Mapping[str, Any] = {
    "channels": RemoteChannel,
    "providers": RemoteProvider,
    "tools": RemoteTool,
    "memories": RemoteMemory,
    "policies": RemotePolicy,
    "observers": RemoteObserver,
}
"""Kind to proxy."""
