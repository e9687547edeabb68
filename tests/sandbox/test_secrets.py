"""A plugin's secret: never where the plugin is; put in place of its handle on the way out, for the granted host."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trio
from attrs import define, field

from fairlead import Secret
from fairlead.config import PluginConfig
from fairlead_sandbox.process import look_at_machine

from .hosted import Hosted, configure, hosted, missing, require_engine, told
from .installed import install

NAME = "acme-courier"
VALUE = "value-of-the-secret-4d1f9a"
SOURCE = """
import os
import urllib.request

from fairlead import Tool, ToolSpec
from fairlead.hookspecs import hookimpl


def fetch(url, token):
    request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()
    except OSError as error:
        return f"refused: {error}"


class Courier(Tool):
    def __init__(self, settings):
        self.token = settings.options["token"]

    def specs(self):
        return [ToolSpec("run", "Runs Python.", {"type": "object"}, effect="read", isolation="process", timeout=30.0)]

    async def call(self, call, context):
        scope = {"os": os, "fetch": fetch, "token": self.token.reveal(), "shown": str(self.token)}
        exec(call.arguments["code"], scope)
        return str(scope["found"])


@hookimpl
def fairlead_tools(settings):
    return [Courier(settings)]
"""
MANIFEST = {
    "api": "1.0",
    "settings": {"type": "object", "properties": {"token": {"type": "string"}}, "required": ["token"]},
    "secrets": ["token"],
}
SEARCH = """
import re
needle = re.compile(b"value-of-the-[s]ecret-4d1f9a")  # which does not match its own text
seen = [str(dict(os.environ)), token, shown]
found = sum(len(needle.findall(text.encode())) for text in seen)
places = [f"/proc/{pid}/{name}" for pid in os.listdir("/proc") if pid.isdigit() for name in ("environ", "cmdline")]
for top, folders, names in os.walk("/"):
    folders[:] = [n for n in folders if os.path.join(top, n) not in ("/proc", "/sys", "/dev", "/usr", "/lib")]
    places += [os.path.join(top, name) for name in names if os.path.isfile(os.path.join(top, name))]
for place in places:
    try:
        found += len(needle.findall(open(place, "rb").read(1 << 20)))
    except OSError:
        continue
looked = "no memory"
try:
    maps, memory = open("/proc/self/maps"), open("/proc/self/mem", "rb", 0)
except OSError:
    maps = ()  # a process that may not read itself has not read it
for line in maps:
    place, rights = line.split()[:2]
    first, last = (int(each, 16) for each in place.split("-"))
    if rights.startswith("rw") and "[v" not in line and last - first < 1 << 26:
        memory.seek(first)
        found += len(needle.findall(memory.read(last - first)))
        looked = "memory"
found = f"{found} {looked}"
"""


@define
class Server:
    """A server on loopback that says back what it was told."""

    port: int
    heard: list[str] = field(factory=list)
    """The authorizations of the requests."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@contextmanager
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.heard.append(self.headers.get("Authorization", ""))
            body = json.dumps({"you said": made.heard[-1]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """The tests print nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Server(listening.server_port)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


@pytest.fixture(scope="module", params=["container", "process"])
def level(request: pytest.FixtureRequest) -> str:
    if request.param == "container":
        require_engine()
    elif not trio.run(look_at_machine).bubblewrap:
        missing("plugin processes are isolated by bubblewrap: sudo apt install bubblewrap")
    return str(request.param)


@pytest.fixture(scope="module")
def listening() -> Iterator[Server]:
    with server() as made:
        yield made


@pytest.fixture
def granted(listening: Server) -> Server:
    listening.heard.clear()
    return listening


@pytest.fixture(scope="module")
def host(packages: Path, level: str, listening: Server, data: Path) -> Iterator[Hosted]:
    files = {"acme_courier/__init__.py": SOURCE, "acme_courier/fairlead-plugin.json": json.dumps(MANIFEST)}
    install(packages, NAME, {"tools": "acme_courier"}, files)
    table = PluginConfig(
        "tools",
        NAME,
        isolation=level,  # type: ignore[arg-type]  # one of the levels
        options={"token": Secret(VALUE, "env COURIER_TOKEN")},
        hosts=(f"127.0.0.1:{listening.port}",),
    )
    with hosted(configure(data, table)) as made:
        yield made


@pytest.mark.docker
def test_secret_is_nowhere_in_the_sandbox(host: Hosted, level: str, granted: Server) -> None:
    """Not in its variables, files, processes or memory; also not after it was used on the way out."""
    nothing = "0 memory" if level == "process" else "0 no memory"  # where it runs it may not even read itself
    assert nothing == told(host.call("s", "run", code=SEARCH))
    if level == "process":  # the search finds what is there
        assert nothing != told(host.call("s", "run", code=f"here = 'value-of-the-' + 'secret-4d1f9a'\n{SEARCH}"))
    assert VALUE not in told(host.call("s", "run", code=f"found = fetch({granted.url!r}, token)"))
    assert nothing == told(host.call("s", "run", code=SEARCH))


@pytest.mark.docker
def test_handle_becomes_the_secret_for_the_granted_host_only(host: Hosted, granted: Server) -> None:
    """The server hears the value and says it back; the plugin hears its handle. Another server hears nothing."""
    said = told(host.call("s", "run", code=f"found = fetch({granted.url!r}, token)"))
    assert [f"Bearer {VALUE}"] == granted.heard
    assert "flsec-" in said
    assert VALUE not in said
    with server() as other:
        said = told(host.call("s", "run", code=f"found = fetch({other.url!r}, token)"))
        assert [] == other.heard
    assert "refused" in said
    assert any("was not let out to" in text for text in host.notices.texts)


@pytest.mark.docker
def test_handle_of_another_app_is_worth_nothing(host: Hosted, granted: Server) -> None:
    """Handles are made anew for each start; one that is guessed is passed on as the text that it is, or refused."""
    told(host.call("s", "run", code=f"found = fetch({granted.url!r}, 'flsec-' + '0' * 32)"))
    assert all(VALUE not in each for each in granted.heard)


@pytest.mark.docker
def test_way_out_is_its_own(host: Hosted, granted: Server) -> None:
    """Without the proxy nothing is reached, also not what is granted."""
    code = (
        "import socket\n"
        f"try: socket.create_connection(('127.0.0.1', {granted.port}), 2); found = 'reached'\n"
        "except OSError: found = 'refused'"
    )
    assert "refused" == told(host.call("s", "run", code=code))


@pytest.mark.docker
def test_secret_is_in_no_file_of_the_app(host: Hosted, granted: Server) -> None:
    """Nor in a notice: what the app keeps of its sandboxes does not hold it."""
    told(host.call("s", "run", code=f"found = fetch({granted.url!r}, token)"))
    data = host.app.config.data_dir
    found = [path for path in data.rglob("*") if path.is_file() and path.stat().st_size < 1 << 22]
    assert [] == [path for path in found if VALUE.encode() in path.read_bytes()]
    assert VALUE not in "".join(host.notices.texts)
