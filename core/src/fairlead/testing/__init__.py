"""Fakes and conformance kits: what Fairlead is tested with, for everybody who writes a plugin.

**Fakes** need nothing but the core:

    ScriptedProvider    answers from a script; `calls`: an answer that calls tools, `Interrupted`: one that breaks off
    CapturingChannel    a channel in memory: say() and next()
    CountingTool        one tool that keeps its calls
    FakePolicy          a policy that is one function
    RecordingObserver   keeps every record
    FakeInbox           the core's side of a channel, for tests of a channel alone
    FakeToolContext     what a tool may know, for tests of a tool alone
    Deltas              an `Emit` that keeps the pieces, for tests of a provider alone
    WallClock           Unix seconds that follow trio's clock, also a virtual one; `run_virtually` runs on such a one

**Conformance classes** are pytest classes, one for each kind; they need the extra ``fairlead-core[testing]`` and are
imported when they are first named. Each test is one promise of the contract. Subclass, and override hooks:

    class TestTelegram(ChannelConformance):
        @asynccontextmanager
        async def far_side(self, tmp_path):                   # where there is a peer: a fake one, kept on self
            async with FakeTelegram() as self.server:
                yield

        async def make_worker(self, tmp_path) -> Channel:     # always: made, not opened; maybe several times in a test
            return Telegram(Settings("telegram", {"url": self.server.url}))

        async def inbound(self, text, external_id): ...       # somebody writes at the far side
        async def outbox(self) -> list[str]: ...              # what the far side can read, oldest first

    class                 hooks beside far_side and make_worker; what is not there makes checks that do not apply
    ChannelConformance    inbound(text, external_id), outbox(); and many more, which its own text lists
    ProviderConformance   wire: how its server speaks, a `ModelWire`; secret, patience; where needed text_request,
                          tool_request, failing_request (each takes the worker); with a far side of your own inject,
                          say, heard
    ToolConformance       where needed example(spec); failing_example, slow_example, large_example, state, secret
    MemoryConformance     entry_point: the module with the hook, to run and kill it; durable, lasting, shared; files;
                          for a worker of one facet JournalConformance or RecallConformance
    PolicyConformance     where needed reviews(), denied(), make_narrower(tmp_path), lesser(), secrets()

**A provider's server.** With `wire` the kit starts a `ModelServer` on loopback, kept as ``self.server``: it answers,
streams, and shows every fault of real servers (429 with and without a time, 500, 529, a reset, half a stream, garbage,
a stall, broken arguments, an unknown tool, an empty answer). `ModelWire` has three methods: understand a request,
give the events of an answer, give the body of a refusal.

**The report.** The package is a pytest plugin: at the end of a run stands for each class how many promises were kept,
did not apply (``n`` in the line of dots; ``-v`` says why) or were broken, and ``--fairlead-report FILE`` writes a JSON
list of objects ``{class, kind, check, outcome, promise, documented, seen}``, `outcome` being ``kept``, ``broken``,
``does not apply`` or ``skipped``.
"""

from typing import TYPE_CHECKING

from fairlead.testing._capturing import CapturingChannel
from fairlead.testing._clock import WallClock, run_virtually
from fairlead.testing._fakes import CountingTool, Deltas, FakeInbox, FakePolicy, FakeToolContext, RecordingObserver
from fairlead.testing._scripted import Interrupted, ScriptedProvider, ScriptEnded, calls

if TYPE_CHECKING:
    from fairlead.testing._channel_kit import ChannelConformance
    from fairlead.testing._memory_kit import JournalConformance, MemoryConformance, RecallConformance
    from fairlead.testing._policy_kit import PolicyConformance
    from fairlead.testing._provider_kit import ProviderConformance
    from fairlead.testing._provider_server import ModelServer
    from fairlead.testing._provider_wire import ModelAsked, ModelReply, ModelWire
    from fairlead.testing._tool_kit import ToolConformance

__all__ = [
    "CapturingChannel",
    "ChannelConformance",
    "CountingTool",
    "Deltas",
    "FakeInbox",
    "FakePolicy",
    "FakeToolContext",
    "Interrupted",
    "JournalConformance",
    "MemoryConformance",
    "ModelAsked",
    "ModelReply",
    "ModelServer",
    "ModelWire",
    "PolicyConformance",
    "ProviderConformance",
    "RecallConformance",
    "RecordingObserver",
    "ScriptEnded",
    "ScriptedProvider",
    "ToolConformance",
    "WallClock",
    "calls",
    "run_virtually",
]

_KITS = {
    "ChannelConformance": "_channel_kit",
    "JournalConformance": "_memory_kit",
    "MemoryConformance": "_memory_kit",
    "ModelAsked": "_provider_wire",
    "ModelReply": "_provider_wire",
    "ModelServer": "_provider_server",
    "ModelWire": "_provider_wire",
    "PolicyConformance": "_policy_kit",
    "ProviderConformance": "_provider_kit",
    "RecallConformance": "_memory_kit",
    "ToolConformance": "_tool_kit",
}


def __getattr__(name: str) -> type:
    """The conformance classes import pytest, which a script with a `ScriptedProvider` does not need."""
    import importlib  # noqa: PLC0415  # only on the way to pytest

    if name not in _KITS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kit: type = getattr(importlib.import_module(f"{__name__}.{_KITS[name]}"), name)
    return kit
