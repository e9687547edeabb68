"""Our own plugins keep the promises of their kinds at every level that exists.

A sample in each run; everything with ``FAIRLEAD_CONFORMANCE=all pytest tests/conformance``.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
import trio

from fairlead import Delivery, Outbound, Secret, Settings, ToolCall, ToolSpec
from fairlead._message import new_id
from fairlead.testing import FakeToolContext
from fairlead.types import Isolation
from fairlead_sandbox.process import look_at_machine

from ..sandbox.hosted import missing, require_engine
from ..workspace import ROOT
from .isolated import home, isolated, module_of

TERMINAL = "it reads and writes the terminal of the host, which no other process has"
RAW = "its password goes through a stream that is no HTTP, where the host cannot place it: it runs in the host"
SIGNS = "it signs and checks what passes with its secret, of which it would have only a handle there"
CONTACTS = "its file is shared with `fairlead contacts`, which is a program of the host"
LEDGER = "its ledger is shared with `fairlead budgets`, which is a program of the host"
OBSERVES = "it only observes, for which there is no kit"
NO_TOOLS = "no kit but that of tools is made for containers: the others hold connections, files and sessions for long"
GVISOR = "the same sandboxes as `container`, under another runtime; tests/sandbox/test_isolation.py runs a tool there"


def only_process(reason: str = "") -> dict[str, str]:
    return {"process": reason, "container": reason or NO_TOOLS, "kernel": reason or NO_TOOLS}


TOOL = {"process": "", "container": "", "kernel": GVISOR}
PLACES: dict[str, dict[str, str]] = {
    "anthropic": only_process(),
    "budgets": only_process(LEDGER),
    "calculator": TOOL,
    "cli": only_process(TERMINAL),
    "clock": TOOL,
    "contacts": only_process(CONTACTS),
    "email": only_process(RAW),
    "fetch": TOOL,
    "irc": only_process(RAW),
    "logs": only_process(OBSERVES),
    "matrix": only_process(),
    "notes": TOOL,
    "openai": only_process(),
    "rehearsal": only_process(),
    "rules": only_process(),
    "sqlite": only_process(),
    "telegram": only_process(),
    "webhook": only_process(SIGNS),
    "workbench": TOOL,
}
"""Of each plugin and level: empty where its kit runs there, else why it does not."""


@pytest.fixture(scope="module", autouse=True)
def walls() -> None:
    """What plugin processes and sandboxes need here."""
    if not trio.run(look_at_machine).bubblewrap:
        missing("plugin processes are isolated by bubblewrap: sudo apt install bubblewrap")
    require_engine()


class Poem:
    """The workbench's workspace is in its place, and not in this directory: the tool itself writes the poem."""

    tool: Any

    async def make_worker(self, tmp_path: Path) -> Any:
        self.root = tmp_path
        self.tool = await super().make_worker(tmp_path)  # type: ignore[misc]  # of the class that this is mixed into
        return self.tool

    async def example(self, spec: ToolSpec) -> Mapping[str, Any]:
        call = ToolCall(f"poem-{new_id()}", "write_file", {"path": "poem.txt", "content": "roses are red\n"})
        await self.tool.call(call, FakeToolContext(principal=None))
        found: Mapping[str, Any] = module_of("workbench").EXAMPLES[spec.name]
        return found

    async def failing_example(self, spec: ToolSpec) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = module_of("workbench").FAILING.get(spec.name)
        return found

    async def state(self, tmp_path: Path) -> object:
        """The files of its sessions, wherever they lie."""
        files = (path for place in ("work", "workspaces") for path in (home() / place).rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files if path.suffix == ".txt"}


class Site:
    """A real page on this machine, which the way out grants."""

    hosts: tuple[str, ...]
    page: str

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            self.hosts = (f"127.0.0.1:{server.server_port}",)
            self.page = f"http://{self.hosts[0]}/"
            try:
                async with super().far_side(tmp_path):  # type: ignore[misc]  # of the class that this is mixed into
                    yield
            finally:
                server.shutdown()
                thread.join()

    async def example(self, spec: ToolSpec) -> Mapping[str, Any]:
        return {"url": self.page}

    async def large_example(self, spec: ToolSpec) -> Mapping[str, Any]:
        return {"url": f"{self.page}large"}


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"<p>word " * (500_000 if self.path.endswith("large") else 1)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Ruled:
    """The rules of its own tests."""

    more: tuple[Any, ...] = ()
    table: str

    def settings(self, tmp_path: Path) -> Settings:
        return Settings("rules", {"rules": [*module_of("rules").RULES, *self.more]}, tmp_path)

    async def make_narrower(self, tmp_path: Path) -> Any:
        self.more = (module_of("rules").NARROWER,)
        self.table += "-narrower"  # one process has the directory of a table
        try:
            return await self.make_worker(tmp_path)  # type: ignore[attr-defined]  # of the class that this is mixed into
        finally:
            self.more = ()


synapse = importlib.import_module("plugins.matrix.tests.conftest").synapse


class Rooms:
    """The homeserver is granted; the password is a handle, which the host places."""

    relay: Any
    bot: Any

    @property
    def hosts(self) -> tuple[str, ...]:
        return (urlsplit(self.relay.url).netloc,)

    def settings(self, tmp_path: Path) -> Settings:
        password = Secret(module_of("matrix").PASSWORD)
        options = {"homeserver": self.relay.url, "user": self.bot.user_id, "password": password, "edit_seconds": 0}
        return Settings("matrix", options, tmp_path)


class Chats:
    """The fake of Telegram is granted, the token is a handle. Without previews, which keep the paces of Telegram."""

    telegram: Any
    later: set[int]

    @property
    def hosts(self) -> tuple[str, ...]:
        return (urlsplit(self.telegram.url).netloc,)

    def settings(self, tmp_path: Path) -> Settings:
        token = Secret(importlib.import_module("plugins.telegram.tests.server").TOKEN)
        options = {"token": token, "api_url": self.telegram.url, "poll_seconds": 5, "markup": "plain"}
        return Settings("telegram", {**options, "streaming": False}, tmp_path)

    async def make_worker(self, tmp_path: Path) -> Any:
        worker = await super().make_worker(tmp_path)  # type: ignore[misc]  # of the class that this is mixed into
        send = worker.send

        async def noting(outbound: Outbound) -> Delivery:
            delivery: Delivery = await send(outbound)
            self.later |= {int(each) for each in delivery.external_id.split("+")[1:]}
            return delivery

        worker.send = noting
        return worker


KITS: dict[str, tuple[str, str, type[Any]]] = {
    "anthropic": ("providers", "TestAnthropic", object),
    "calculator": ("tools", "TestCalculator", object),
    "clock": ("tools", "TestClock", object),
    "fetch": ("tools", "TestFetch", Site),
    "matrix": ("channels", "TestMatrix", Rooms),
    "notes": ("tools", "TestNotes", object),
    "openai": ("providers", "TestOpenAI", object),
    "rehearsal": ("providers", "TestRehearsal", object),
    "rules": ("policies", "TestRules", Ruled),
    "sqlite": ("memories", "TestSqlite", object),
    "telegram": ("channels", "TestPolled", Chats),
    "workbench": ("tools", "TestWorkbenchConformance", Poem),
}
"""Kind, class, and what is other where it is isolated."""


def test_every_plugin_and_level_is_in_the_table() -> None:
    """With a kit that runs there, or with the reason why not."""
    levels = [level for level in get_args(Isolation) if level != "host"]
    assert sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "pyproject.toml").is_file()) == sorted(
        PLACES
    )
    assert [] == [name for name, places in PLACES.items() if list(places) != levels]
    tried = {name for name, places in PLACES.items() if "" in places.values()}
    assert sorted(KITS) == sorted(tried)
    shown = [name for name in globals() if name.startswith("Test")]
    assert len(shown) == sum(reason == "" for places in PLACES.values() for reason in places.values())


NOT_HERE = {
    "matrix": [
        "test_opening_and_closing_leaves_nothing_behind",
        "test_same_send_after_a_restart_has_no_second_effect",
        "test_two_workers_do_not_disturb_each_other",
    ],
    "rules": ["test_other_processes_decide_alike"],
    "telegram": ["test_opening_and_closing_leaves_nothing_behind", "test_two_workers_do_not_disturb_each_other"],
    "workbench": ["test_two_workers_live_side_by_side"],
}
"""Checks that start another process with the class of their file, which these have not; that count what this process
has open; and that run one table twice at a time, whose directory belongs to one process."""


for _plugin, (_kind, _name, _more) in KITS.items():
    for _place, _reason in PLACES[_plugin].items():
        if not _reason:
            _made = isolated(
                getattr(module_of(_plugin), _name),
                _kind,
                _plugin,
                _place,
                _more,
                left_out=NOT_HERE.get(_plugin, ()),
            )
            globals()[_made.__name__] = _made
