"""A Bot API server in a thread, written from https://core.telegram.org/bots/api.

`test_server.py` checks it with python-telegram-bot as it is. It keeps its state while it is down, as Telegram does.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import define, field

from .methods import Methods, Problem

TOKEN = "123456789:AAE-a-token-of-the-tests_0123456789"
SECONDS = 40.0


@define
class Fault:
    """What one call of a method meets instead of a good answer."""

    method: str
    status: int = 0
    """Answer with this; 0: the connection is closed."""
    body: dict[str, Any] = field(factory=dict)
    after: bool = False
    """The call is done first."""
    lost: bool = False
    """It is held, and then never done."""
    half: bool = False
    """Half of the good answer is written, and the connection closed."""
    raw: bytes | None = None
    """The body of a good answer as it is written."""
    hold: threading.Event | None = None
    """Waited for before anything else, or where the call is done first, before the answer."""

    @property
    def late(self) -> bool:
        """It is met when the call is done."""
        return self.after or self.half or self.raw is not None


def refusal(code: int, description: str, **parameters: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    return {**body, "parameters": parameters} if parameters else body


class FakeTelegram(Methods):
    """Start it with `serving`; say something with `say`; what the bot has written is in `texts`."""

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Method and parameters of each call that came in, also of those that met a fault."""
        self.faults: list[Fault] = []
        self.stopping = False
        self.away = False
        """Connections are cut off as soon as they are made."""
        self.attempts = 0
        """Connections that were made."""
        self.flowing = threading.Event()
        """While it is not set, calls are neither done nor answered."""
        self.flowing.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, method: str, status: int = 0, description: str = "", **more: Any) -> None:
        """The next call of `method` meets this."""
        parameters = more.pop("parameters", {})
        self.faults.append(Fault(method, status, refusal(status, description, **parameters), **more))

    def methods(self, name: str) -> list[dict[str, Any]]:
        """The parameters of all calls of a method."""
        with self.changed:
            return [params for method, params in self.calls if method == name]

    def take_fault(self, method: str, *, late: bool = False) -> Fault | None:
        with self.changed:
            found = next((fault for fault in self.faults if (fault.method, fault.late) == (method, late)), None)
            if found is not None:
                self.faults.remove(found)
        return found

    def answer(self, path: str, params: dict[str, Any]) -> tuple[int, bytes, bool]:
        """Status, body, and whether the whole of it is written. Status 0: nothing is."""
        match = re.fullmatch(r"/bot([^/]+)/(\w+)", path)
        if match is None or ":" not in match[1]:
            return 404, json.dumps(refusal(404, "Not Found")).encode(), True
        if match[1] != self.token:
            return 401, json.dumps(refusal(401, "Unauthorized")).encode(), True
        method = match[2]
        with self.changed:
            self.calls.append((method, params))
            self.changed.notify_all()
        self.flowing.wait()
        fault = self.take_fault(method, late=False)
        if fault is not None and fault.hold is not None:
            fault.hold.wait(SECONDS)
        if fault is not None and (fault.lost or fault.hold is None):
            return fault.status, json.dumps(fault.body).encode(), True
        try:
            status, body = 200, {"ok": True, "result": self.do(method, params)}
        except Problem as problem:
            status, body = problem.code, refusal(problem.code, problem.description, **problem.parameters)
        self.flowing.wait()
        raw = json.dumps(body).encode()
        fault = self.take_fault(method, late=True)
        if fault is None:
            return status, raw, True
        if fault.hold is not None:
            fault.hold.wait(SECONDS)
        if fault.raw is not None:
            return 200, fault.raw, True
        return (200, raw, False) if fault.half else (fault.status, json.dumps(fault.body).encode(), True)

    # -- life

    def start(self) -> None:
        """Listen, at the same port as before."""
        self.stopping = False
        self._server = _Quiet(("127.0.0.1", self.port), type("Handler", (_Handler,), {"telegram": self}))
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        """Connections are cut, calls that wait are let go."""
        self.stopping = True
        self.flowing.set()
        self.interrupt()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.cut()

    def cut(self) -> None:
        """Every connection breaks."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(2)


@contextmanager
def serving(**options: Any) -> Iterator[FakeTelegram]:
    telegram = FakeTelegram()
    for name, value in options.items():
        setattr(telegram, name, value)
    telegram.token = TOKEN
    telegram.start()
    try:
        yield telegram
    finally:
        telegram.stop()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    telegram: FakeTelegram

    def setup(self) -> None:
        super().setup()
        self.telegram.attempts += 1
        self.telegram.connections.add(self.connection)

    def handle(self) -> None:
        if not self.telegram.away:
            super().handle()

    def finish(self) -> None:
        self.telegram.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        prefix = f"/file/bot{self.telegram.token}/"
        if not path.startswith(prefix):
            self.respond(dict(parse_qsl(urlsplit(self.path).query)))
            return
        data = self.telegram.stored.get(path.removeprefix(prefix))
        fault = self.telegram.take_fault("file")
        if fault is not None or data is None:
            self.write(fault.status if fault is not None else 404, b"{}")
        else:
            self.write(200, data, "application/octet-stream")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.respond(_params(self.headers.get("Content-Type", ""), body))

    def respond(self, params: dict[str, Any]) -> None:
        status, raw, whole = self.telegram.answer(urlsplit(self.path).path, params)
        if status == 0 or self.telegram.stopping:
            self.close_connection = True
        elif whole:
            self.write(status, raw)
        else:
            self.close_connection = True
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(raw)
            self.wfile.write(head + raw[: len(raw) // 2])

    def write(self, status: int, raw: bytes, kind: str = "application/json") -> None:
        with suppress(OSError):  # whoever asked is gone
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    def log_message(self, *args: object) -> None:
        """The tests print nothing."""


def _params(kind: str, body: bytes) -> dict[str, Any]:
    """The parameters of a call, in each of the three forms that the API takes."""
    if kind.startswith("application/json"):
        found: dict[str, Any] = json.loads(body or b"{}")
        return found
    if kind.startswith("multipart/form-data"):
        return _multipart(kind.partition("boundary=")[2].strip('"').encode(), body)
    return {name: _value(text) for name, text in parse_qsl(body.decode(), keep_blank_values=True)}


def _multipart(boundary: bytes, body: bytes) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part[2:-2].partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        file = re.search(rb'filename="([^"]*)"', head)
        assert name is not None
        if file is not None:
            kind = re.search(rb"(?i)content-type: (\S+)", head)
            mime = kind[1].decode() if kind else "application/octet-stream"
            params[name[1].decode()] = {"data": content, "file_name": file[1].decode(), "mime_type": mime}
        else:
            params[name[1].decode()] = _value(content.decode())
    for key, value in params.items():  # attach://NAME leads to another part
        if isinstance(value, str) and value.startswith("attach://"):
            params[key] = params.get(value.removeprefix("attach://"), value)
    return params


def _value(text: str) -> Any:
    """Objects, arrays, numbers and truth values stand as JSON in forms; what is text stays text."""
    if text[:1] in "[{" or re.fullmatch(r"-?\d{1,19}|true|false", text):
        with suppress(ValueError):
            return json.loads(text)
    return text


def wait_until(telegram: FakeTelegram, true: Any, seconds: float = SECONDS) -> bool:
    """Until something holds of the server's state."""
    with telegram.changed:
        return bool(telegram.changed.wait_for(lambda: true(telegram), timeout=seconds))


def now() -> int:
    return int(time.time())
