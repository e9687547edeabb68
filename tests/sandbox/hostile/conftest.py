"""One app for each level, shared by all attacks at it: what one of them breaks, the next one finds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from fairlead.config import PluginConfig

from ..hosted import Hosted, configure, hosted, require_engine, told
from ..installed import install, on_the_path
from .probes import Probe

SOURCE = Path(__file__).parent / "acme_hostile"
MEGABYTE = 1_000_000
SURVEY = """
import json, signal
status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
return json.dumps({
    'processes': len([n for n in os.listdir('/proc') if n.isdigit()]),
    'files': [os.listdir('/tmp'), os.listdir('/dev/shm')],
    'open': sorted(int(n) for n in os.listdir('/proc/self/fd'))[:3],
    'users': [os.getresuid(), os.getresgid(), os.getgroups()],
    'variables': sorted(os.environ),
    'place': os.getcwd(),
    'nice': os.getpriority(os.PRIO_PROCESS, 0),
    'handlers': [str(signal.getsignal(n)) for n in (2, 10, 14, 15)],
    'modules': [json.dumps.__module__, trio.run.__name__, len(sys.path)],
    'privileges': [status[key].strip() for key in ('CapEff', 'CapPrm', 'CapBnd') if key in status],
})
"""
"""What a call finds in its sandbox; every call must find the same."""


@define
class Arena:
    """An app with the plugin at one level, and two sandboxes of it: the attacker's and a neighbour's."""

    host: Hosted
    level: str
    sandboxes: dict[str, str] = field(factory=dict)
    """The container that each session had last."""
    clean: Mapping[str, Any] = field(factory=dict)

    def probe(self, session: str, code: str, tool: str = "probe") -> str:
        """Run it there; what became of it. Its evidence must say where it ran."""
        result = self.host.call(session, tool, code=code)
        assert self.level == result.evidence.get("level"), result
        self.sandboxes[session] = result.evidence["container"]
        return told(result) if told(result) != "SandboxError" or "DONE" not in result.text else result.text

    def survey(self, session: str) -> Mapping[str, Any]:
        found: dict[str, Any] = json.loads(self.probe(session, SURVEY))
        found["users"] = "its own"  # numbers differ between sandboxes
        return found

    def attack(self, probe: Probe) -> None:
        """Its outcome is as it must be; the next call finds a clean sandbox, and a neighbour has noticed nothing."""
        neighbour = self.sandboxes["neighbour"]
        began = time.monotonic()
        assert probe.expected(self.level) == self.probe("attacker", probe.code, probe.tool)
        assert time.monotonic() - began < probe.within
        if probe.then:
            assert "clean" == self.probe("attacker", probe.then)
        assert self.clean == self.survey("attacker")
        assert "fine" == self.probe("neighbour", "return 'fine'")
        assert neighbour == self.sandboxes["neighbour"]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of packages with the attacker in it."""
    directory = tmp_path_factory.mktemp("site")
    files = {f"acme_hostile/{path.name}": path.read_text("utf-8") for path in SOURCE.iterdir() if path.is_file()}
    install(directory, "acme-hostile", {"tools": "acme_hostile"}, files)
    with on_the_path(directory):
        yield directory


@pytest.fixture(scope="session")
def arenas(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Arena]]:
    """By level; opened when the first attack wants one."""
    with ExitStack() as stack:
        yield Arenas(stack, tmp_path_factory.mktemp("arenas"))


class Arenas(dict[str, Arena]):
    """Opens what is asked for."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        super().__init__()
        self._stack, self._directory = stack, directory

    def __missing__(self, level: str) -> Arena:
        require_engine(runtime="runsc" if level == "kernel" else "")
        config = configure(
            self._directory / level,
            PluginConfig("tools", "acme-hostile", isolation=level),  # type: ignore[arg-type]  # one of the levels
            memory_mb=256,
            workspace_mb=16,
            output_mb=2,
            pids=128 if level == "container" else 1024,
        )
        made = Arena(self._stack.enter_context(hosted(config)), level)
        made.probe("neighbour", "return 'fine'")
        made.clean = made.survey("attacker")
        self[level] = made
        return made


@pytest.fixture
def arena(arenas: dict[str, Arena], level: str) -> Arena:
    """The app of this level."""
    return arenas[level]
