"""Tools whose calls run in sandboxes: each in a process of its own, in a container of the session's own."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio
from attrs import evolve

from fairlead import Finding, Tool, ToolCall, ToolContext, ToolResult, ToolSpec
from fairlead.errors import FairleadError, SchemaError, ToolError
from fairlead.memory import Note
from fairlead.types import Isolation
from fairlead.wire import loads, structure, unstructure
from fairlead_sandbox._places import Walls
from fairlead_sandbox.container import Lease, PoolKey
from fairlead_sandbox.errors import EngineUnavailable
from fairlead_sandbox.isolator._containers import Containers, Plan, Sandbox
from fairlead_sandbox.isolator._results import failure, kept, result_from
from fairlead_sandbox.remote import parsed, parsed_list
from fairlead_sandbox.runner import Limits, Watch, Work

__all__ = ["SandboxedTool", "described"]

MOST_TOOLS = 1000
MOST_FILE_BYTES = 256 * 1024 * 1024
"""Of one file."""
_HANDLE = re.compile(r"flsec-[0-9a-f]{32}")
"""Handles of secrets are others at each start, and change nothing about the tools."""


class SandboxedTool(Tool):
    """One tool worker of a plugin whose code the host never sees."""

    remembers = True

    def __init__(  # all of it is fixed from here on
        self,
        plan: Plan,
        worker: int,
        specs: Sequence[ToolSpec],
        *,
        containers: Containers,
        walls: Walls,
        level: Isolation,
        seconds: float,
    ) -> None:
        """`worker`: its place in its table. `seconds`: for a call of a tool that names no time."""
        self._plan, self._worker, self._specs = plan, worker, tuple(specs)
        self._containers, self._walls, self._seconds = containers, walls, seconds
        self.level = level

    def specs(self) -> Sequence[ToolSpec]:
        return self._specs

    async def check(self) -> Sequence[Finding]:
        try:
            await self._containers.ready()
        except FairleadError as error:
            return [Finding(f"tools/{self.name}", ok=False, detail=error.problem, next_step=error.next_step)]
        return [Finding(f"tools/{self.name}", ok=True, detail=f"runs at level {self.level!r}, in sandboxes of its own")]

    async def identity(self) -> str:
        """Of its code by their digest, and of the image by its id."""
        await self._containers.ready()
        return f"{self._plan.environment.digest} in {self._containers.image.id} {self._plan.runtime}".strip()

    async def evidence(self) -> Mapping[str, Any]:
        """Of a sandbox that is made for this question alone. Raises what making one raises."""
        await self._containers.ready()
        return await self._containers.prove(self._plan.table.name)

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        spec = next(spec for spec in self._specs if spec.name == call.tool)
        proof: Mapping[str, Any] | None = None
        """Of the sandbox in which it began."""
        try:
            with trio.fail_after(self._walls.wait_seconds):
                await self._containers.ready()
            async with self._leased(context.session) as lease:
                proof = lease.value.evidence
                full = lease.value.full
                work = self._work(call, spec, context, file_bytes=1 if full else MOST_FILE_BYTES)
                outcome = await lease.value.runner.call(work, _Watcher(context))
                if not lease.value.runner.usable:
                    lease.spoil()
                if spec.effect != "read":
                    lease.value.full = await self._containers.overfull(lease.value)
                return result_from(call, spec, outcome, proof, f"{full}. {FREE}" if full else "")
        except trio.TooSlowError:
            return failure(call, spec, EngineUnavailable(BUSY, next_step="fairlead sandbox doctor", floor="container"))
        except (FairleadError, OSError) as fault:
            error = fault if isinstance(fault, FairleadError) else _of_disk(fault)
            if proof is None:  # what never began had no effect
                return failure(call, evolve(spec, effect="read"), error)
            return evolve(failure(call, spec, error), evidence=kept(proof))

    @asynccontextmanager
    async def _leased(self, session: str) -> AsyncIterator[Lease[Sandbox]]:
        """A sandbox with the session's files. A warm one has files of its own, for a session that has none."""
        owner, volumes = self._plan.owner(session), self._containers.volumes
        while True:
            key = PoolKey(self._plan.table.name, session, warm=not volumes.known(owner))
            async with self._containers.pool.acquire(key, seconds=self._walls.wait_seconds) as lease:
                if not lease.value.owned and volumes.known(owner):
                    lease.spoil()  # meanwhile a call of another table, or in another sandbox, has given it files
                    continue
                if not lease.value.owned:
                    volumes.assign(lease.value.volume, owner)
                    lease.value.owned = True
                yield lease
                return

    def _work(self, call: ToolCall, spec: ToolSpec, context: ToolContext, file_bytes: int) -> Work:
        return Work(
            id=call.id,
            table=self._plan.table.name,
            tool=call.tool,
            arguments=call.arguments,
            worker=self._worker,
            session=context.session,
            principal=context.principal,
            now=context.now(),
            effect=spec.effect,
            recall=context.recall is not None,
            limits=Limits(
                seconds=spec.timeout or self._seconds,
                output_bytes=self._walls.output_mb * 1_000_000,
                memory_bytes=self._walls.memory_mb * 1_000_000,
                processes=max(8, self._walls.pids // 2),
                file_bytes=file_bytes,
            ),
        )


BUSY = "the Docker Engine has not answered in time"
FREE = "So the call could write nothing. Remove files, and go on then."


def _of_disk(error: OSError) -> FairleadError:
    return FairleadError(f"the files of this session cannot be had: {error}", next_step="fairlead sandbox doctor")


class _Watcher(Watch):
    """Shows how far a call is, and answers what it asks of the memory: in the scope of its principal, and no other."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context

    async def output(self, stream: str, text: str) -> None:  # which of the two does not matter here
        lines = text.strip().rsplit("\n", 1)
        if lines[-1]:
            await self._context.progress(lines[-1])

    async def progress(self, detail: str) -> None:
        await self._context.progress(detail)

    async def ask(self, service: str, args: Mapping[str, Any]) -> Any:
        recall = self._context.recall
        if recall is None:
            raise ToolError("no memory offers recall here")
        match service:
            case "recall.add":
                return unstructure(await recall.add(parsed(args.get("note"), Note)))
            case "recall.search":
                limit = args.get("limit", 5)
                limit = max(0, min(limit, 100)) if type(limit) is int else 5
                found = await recall.search("", str(args.get("query", "")), limit)
                return [unstructure(note) for note in found]
            case "recall.erase":
                note = args.get("note")
                return await recall.erase("", str(note) if note is not None else None)
        raise ToolError(f"nobody here offers {service!r}")


async def described(plan: Plan, containers: Containers, cache: Path) -> Sequence[Sequence[ToolSpec]]:
    """The tools of each worker of a table, as its code says in a sandbox; kept by the digest of that code.

    `EngineUnavailable`, `ImageMissing`; `PluginLoadError`: the plugin failed.
    """
    options = hashlib.sha256(_HANDLE.sub("", json.dumps(plan.table.options, sort_keys=True)).encode()).hexdigest()
    kept = cache / "described" / f"{plan.environment.digest}-{plan.table.entry_point}-{options[:16]}.json"
    if (found := await trio.to_thread.run_sync(_read, kept)) is not None:
        return found
    await containers.ready()
    raw = await containers.describe(plan.table.name)
    specs = [parsed_list(each["specs"], ToolSpec, MOST_TOOLS) for each in raw]
    await trio.to_thread.run_sync(_write, kept, [[unstructure(spec) for spec in each] for each in specs])
    return specs


def _read(kept: Path) -> Sequence[Sequence[ToolSpec]] | None:
    try:
        return [[structure(spec, ToolSpec) for spec in each] for each in loads(kept.read_bytes())]
    except (OSError, SchemaError, TypeError):
        return None


def _write(kept: Path, specs: object) -> None:
    """Keep it for the next start; a disk that refuses costs that start some time, and nothing else."""
    new = kept.with_suffix(f".{secrets.token_hex(8)}")
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new.write_text(json.dumps(specs), "utf-8")
        new.replace(kept)
