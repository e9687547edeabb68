"""What the host can ask of each kind of worker: arguments become the contract's objects, and its objects JSON."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from attrs import evolve

from fairlead import (
    Address,
    Capabilities,
    Delivery,
    Delta,
    Draft,
    Message,
    ModelInfo,
    ModelRequest,
    Outbound,
    Policy,
    Principal,
    Review,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)
from fairlead.events import Record
from fairlead.memory import Note
from fairlead.types import Boundary
from fairlead.wire import decode_event, encode_event, structure, unstructure
from fairlead_sandbox.boundary import Call
from fairlead_sandbox.guest._far import FarContext, FarInbox
from fairlead_sandbox.inside._arguments import fault

__all__ = ["facts_of", "operation_of"]

Operation = Callable[[dict[str, Any], Call], Awaitable[Any]]

_SUBJECTS: Mapping[Boundary, Any] = {
    "message_in": Message,
    "model_request": ModelRequest,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "message_out": Message,
}
_PAGE_BYTES = 256 * 1024
"""Of records that go into one item: a session may be larger than a frame."""


def facts_of(kind: str, worker: Any) -> dict[str, Any]:
    """What the core must know of a worker before it uses it, as far as the worker can say it now."""
    if kind == "channels":
        can = getattr(worker, "capabilities", None)
        return {"capabilities": unstructure(can)} if isinstance(can, Capabilities) else {}
    if kind == "tools":
        return {"specs": [unstructure(spec) for spec in worker.specs()]}
    if kind == "policies":
        asked = getattr(worker, "boundaries", None)
        settles = type(worker).settle is not Policy.settle
        return {"settles": settles} | ({"boundaries": sorted(asked)} if isinstance(asked, frozenset | set) else {})
    if kind == "providers":
        return {"credentials": list(worker.credentials)}
    if kind == "memories":
        return {"journal": worker.journal is not None, "recall": worker.recall is not None}
    return {}


class _Served:
    """A worker as it is asked: each public method is an operation, which takes the arguments and the call."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker


class _Channel(_Served):
    async def run(self, args: dict[str, Any], call: Call) -> None:
        inbox = FarInbox(call)
        async with anyio.create_task_group() as tasks:
            _ = tasks.start_soon(inbox.tell)
            await self.worker.run(inbox)
            await inbox.settle()
            tasks.cancel_scope.cancel()

    async def send(self, args: dict[str, Any], call: Call) -> Any:
        return unstructure(await self.worker.send(structure(args["outbound"], Outbound)))

    async def edit(self, args: dict[str, Any], call: Call) -> Any:
        delivery, outbound = structure(args["delivery"], Delivery), structure(args["outbound"], Outbound)
        return unstructure(await self.worker.edit(delivery, outbound))

    async def preview(self, args: dict[str, Any], call: Call) -> None:
        await self.worker.preview(structure(args["draft"], Draft))


class _Provider(_Served):
    async def models(self, args: dict[str, Any], call: Call) -> Any:
        return [unstructure(info) for info in await self.worker.models()]

    async def generate(self, args: dict[str, Any], call: Call) -> Any:
        async def emit(delta: Delta) -> None:
            await call.send(unstructure(delta))

        answer = await self.worker.generate(structure(args["request"], ModelRequest), emit)
        return unstructure(evolve(answer, calls=tuple(map(_sendable, answer.calls))))


def _sendable(call: ToolCall) -> ToolCall:
    """A call as the boundary can carry it: some servers leave the id out, or send arguments that are no object."""
    arguments = call.arguments if isinstance(call.arguments, dict | str) else str(call.arguments)
    return evolve(call, id=call.id or f"call_{uuid.uuid4().hex}", arguments=arguments)


class _Tool(_Served):
    async def call(self, args: dict[str, Any], call: Call) -> Any:
        wanted = structure(args["call"], ToolCall)
        asked = next((spec.parameters for spec in self.worker.specs() if spec.name == wanted.tool), True)
        if wrong := fault(asked, wanted.arguments):
            return unstructure(
                ToolResult(wanted.id, wanted.tool, (Text(f"The call was not made: {wrong}"),), "invalid")
            )
        result = await self.worker.call(wanted, FarContext(args, call))
        return result if isinstance(result, str) else unstructure(result)


class _Journal(_Served):
    async def append(self, args: dict[str, Any], call: Call) -> Any:
        events = [decode_event(line) for line in args["events"]]
        journal = self.worker.journal
        return await journal.append(args["session"], args["expected_version"], events, pending=args["pending"])

    async def read(self, args: dict[str, Any], call: Call) -> None:
        page: list[Any] = []
        size = 0
        for record in await self.worker.journal.read(args["session"], args["after"]):
            line = encode_event(record.event).decode()
            page.append([record.version, line])
            size += len(line)
            if size >= _PAGE_BYTES:
                await call.send(page)
                page, size = [], 0
        if page:
            await call.send(page)

    async def find(self, args: dict[str, Any], call: Call) -> Any:
        return await self.worker.journal.find(args["key"])

    async def claim(self, args: dict[str, Any], call: Call) -> Any:
        return list(await self.worker.journal.claim())

    async def sessions(self, args: dict[str, Any], call: Call) -> Any:
        wanted = {key: value for key, value in args.items() if key != "worker"}
        return [unstructure(info) for info in await self.worker.journal.sessions(**wanted)]

    async def erase(self, args: dict[str, Any], call: Call) -> Any:
        return await self.worker.journal.erase(args["session"])


class _Recall(_Served):
    async def add(self, args: dict[str, Any], call: Call) -> Any:
        return unstructure(await self.worker.recall.add(structure(args["note"], Note)))

    async def search(self, args: dict[str, Any], call: Call) -> Any:
        found = await self.worker.recall.search(args["scope"], args["query"], args["limit"])
        return [unstructure(note) for note in found]

    async def erase(self, args: dict[str, Any], call: Call) -> Any:
        return await self.worker.recall.erase(args["scope"], args.get("note"))


class _Policy(_Served):
    async def review(self, args: dict[str, Any], call: Call) -> Any:
        verdicts = await self.worker.review(_review(args["review"]))
        return [unstructure(verdict) for verdict in verdicts]

    async def settle(self, args: dict[str, Any], call: Call) -> None:
        usage = structure(args["usage"], Usage) if args["usage"] is not None else None
        await self.worker.settle(_review(args["review"]), usage)


def _review(raw: dict[str, Any]) -> Review:
    subject: Any = structure(raw["subject"], _SUBJECTS[raw["boundary"]])
    who: dict[str, Any] = {name: structure(raw[name], cls) for name, cls in _WHO.items() if raw.get(name) is not None}
    texts = {name: raw[name] for name in ("session", "agent", "provider") if name in raw}
    return Review(raw["boundary"], subject, **texts, **who)


class _Observer(_Served):
    async def observe(self, args: dict[str, Any], call: Call) -> None:
        await self.worker.observe(Record(args["session"], args["version"], decode_event(args["event"])))


_WHO: Mapping[str, Any] = {"principal": Principal, "address": Address, "tool": ToolSpec, "model": ModelInfo}
_SERVED: Mapping[str, tuple[str, type[_Served]]] = {
    "channel": ("channels", _Channel),
    "provider": ("providers", _Provider),
    "tool": ("tools", _Tool),
    "journal": ("memories", _Journal),
    "recall": ("memories", _Recall),
    "policy": ("policies", _Policy),
    "observer": ("observers", _Observer),
}


def operation_of(kind: str, worker: Any, op: str) -> Operation:
    """What answers ``channel.send`` and the like. `LookupError`: this kind of worker has no such operation."""
    noun, _, verb = op.partition(".")
    served_kind, served = _SERVED.get(noun, ("", _Served))
    if kind != served_kind or verb.startswith("_") or not hasattr(served, verb):
        raise LookupError(f"no operation {op!r} of {kind}")
    operation: Operation = getattr(served(worker), verb)
    return operation
