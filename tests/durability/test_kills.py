"""`fairlead run` is killed again and again while messages come in; in the end each is answered, and once."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from ..cli.programs import SECONDS, Home, Program

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a secret of the tests, no more"  # it guards nothing
CONFIG = """
[channels.webhook]
port = 0
secret = "{secret}"
reply_url = "{url}"

[providers.rehearsal]
"""
KILLS = int(os.environ.get("FAIRLEAD_KILLS", "5"))
"""A sample; `FAIRLEAD_KILLS=200 uv run tox -e tests -- tests/durability` is the long proof."""
MESSAGES_A_LIFE = 4


class Reader:
    """Whoever gets the answers: keeps each of them, and says 204."""

    def __init__(self) -> None:
        self.got: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """By the id of the message that is answered."""
        self.changed = threading.Condition()

    def take(self, body: dict[str, Any]) -> None:
        with self.changed:
            self.got[body["in_reply_to"]].append(body)
            self.changed.notify_all()

    def wait_for(self, names: set[str]) -> bool:
        """Until each of these is answered."""
        with self.changed:
            return self.changed.wait_for(lambda: names <= set(self.got), timeout=SECONDS)


@contextmanager
def reading() -> Iterator[tuple[Reader, str]]:
    reader = Reader()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reader.take({**body, "key": self.headers["Idempotency-Key"]})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """The tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield reader, f"http://127.0.0.1:{server.server_port}/answers"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def post(url: str, name: str) -> bool:
    """Send one message; True where it was acknowledged."""
    message = {
        "id": name,
        "conversation": f"room {name[-1]}",
        "author": {"id": "ann"},
        "text": f"What is {name[1:]} + 1?",
    }
    body = json.dumps(message).encode()
    stamp = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"X-Fairlead-Timestamp": stamp, "X-Fairlead-Signature": f"v1={signature}"}
    try:
        return httpx2.post(url, content=body, headers=headers).status_code in (200, 202)
    except httpx2.TransportError:
        return False


def where(program: Program) -> str:
    """The URL that the program listens at."""
    program.expect("listening at ")
    return program.expect("\n").strip().rstrip("/").removesuffix("/messages") + "/messages"


@pytest.mark.parametrize("seed", [1])
def test_each_acknowledged_message_is_answered_once(seed: int, tmp_path: Path) -> None:
    """Whatever moment SIGKILL chooses: acknowledged is answered, with one answer under one key."""
    chance = random.Random(seed)  # noqa: S311  # moments, not secrets
    home = Home(tmp_path)
    acknowledged: set[str] = set()
    with reading() as (reader, url):
        home.configure(CONFIG.format(secret=SECRET, url=url))
        for life in range(KILLS):
            with home.start("run") as program:
                target = where(program)
                killer = threading.Timer(chance.uniform(0.0, 0.15), program.signal, [signal.SIGKILL])
                killer.start()
                names = [f"m{life}{number}" for number in range(MESSAGES_A_LIFE)]
                acknowledged.update(name for name in names if post(target, name))
                killer.join()
                program.wait()
        with home.start("run") as program:
            target = where(program)
            again = {name for name in acknowledged if post(target, name)}
            assert acknowledged == again
            assert reader.wait_for(acknowledged), acknowledged - set(reader.got)
            program.signal(signal.SIGTERM)
            assert 0 == program.wait()
    for name in acknowledged:
        answers = {(answer["key"], answer["text"]) for answer in reader.got[name]}
        assert 1 == len(answers), answers
        assert f"{int(name[1:]) + 1}" in answers.pop()[1]
