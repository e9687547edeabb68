"""`fairlead run` is killed again and again under load; in the end each message is answered, and once.

A sample. `FAIRLEAD_KILLS=50 FAIRLEAD_SESSIONS=200 uv run pytest tests/durability/test_kills.py -s` is the long proof,
and prints its figures.
"""

from __future__ import annotations

import faulthandler
import hashlib
import hmac
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from ..cli.programs import Home, Program

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
KILLS = int(os.environ.get("FAIRLEAD_KILLS", "3"))
SESSIONS = int(os.environ.get("FAIRLEAD_SESSIONS", "40"))
POSTERS = 16
"""Threads that post, each for some of the sessions."""
LIFE_SECONDS = (0.0, 1.5)
"""From the moment in which it listens."""
END_SECONDS = 120.0


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
            return self.changed.wait_for(lambda: names <= set(self.got), timeout=END_SECONDS)


@contextmanager
def reading() -> Iterator[tuple[Reader, str]]:
    reader = Reader()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            body = self.rfile.read(size)
            if len(body) < size:  # whoever sent it was killed: it has not arrived
                self.close_connection = True
                return
            reader.take({**json.loads(body), "key": self.headers["Idempotency-Key"]})
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


class Platform:
    """Posts messages of many conversations, and each again and again until it is acknowledged."""

    def __init__(self) -> None:
        self.url = ""
        """Where the program listens, as far as one knows; empty while it is dead."""
        self.acknowledged: set[str] = set()
        self.tries = 0
        self.ending = threading.Event()
        """Nothing new is said; what was not acknowledged is still delivered."""
        posters = range(min(POSTERS, SESSIONS))
        self.threads = [threading.Thread(target=self._post, args=(number,)) for number in posters]
        self._given_up = time.monotonic() + END_SECONDS + 20.0 * KILLS

    def finish(self) -> None:
        """Say nothing new, and wait until all that was said is acknowledged."""
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def _post(self, number: int) -> None:
        """In a thread: the conversations of one poster take turns."""
        rooms = range(number, SESSIONS, POSTERS)
        with httpx2.Client() as client:
            for step in itertools.count():
                for room in rooms:
                    if self.ending.is_set():
                        return
                    self._deliver(client, f"m-{room}-{step}")

    def _deliver(self, client: httpx2.Client, name: str) -> None:
        while time.monotonic() < self._given_up:
            self.tries += 1
            if self.url and post(client, self.url, name):
                self.acknowledged.add(name)
                return
            time.sleep(0.05)  # real time: the program is dead, or not yet there


def value_of(name: str) -> int:
    _, room, step = name.split("-")
    return int(room) * 1000 + int(step)


def post(client: httpx2.Client, url: str, name: str, now: float | None = None) -> bool:
    """Send one message, for whose answer a tool is called; True where it was acknowledged. `now`: by its clock."""
    message = {
        "id": name,
        "conversation": f"room {name.split('-')[1]}",
        "author": {"id": "ann"},
        "text": f"What is {value_of(name)} + 1?",
    }
    body = json.dumps(message).encode()
    stamp = str(int(time.time() if now is None else now))
    signature = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"X-Fairlead-Timestamp": stamp, "X-Fairlead-Signature": f"v1={signature}"}
    try:
        return client.post(url, content=body, headers=headers).status_code in (200, 202)
    except httpx2.TransportError:
        return False


def where(program: Program) -> str:
    """The URL that the program listens at."""
    program.expect("listening at ")
    return program.expect("\n").strip().rstrip("/").removesuffix("/messages") + "/messages"


@contextmanager
def posting() -> Iterator[Platform]:
    platform = Platform()
    for thread in platform.threads:
        thread.start()
    try:
        yield platform
    finally:
        platform.finish()


@pytest.mark.parametrize("seed", [1])
def test_law_of_conservation_holds_after_kills_under_load(seed: int, tmp_path: Path) -> None:
    """Whatever moment SIGKILL chooses: acknowledged is answered, with one answer under one key; the audit agrees."""
    chance = random.Random(seed)  # noqa: S311  # moments, not secrets
    home = Home(tmp_path)
    began = time.monotonic()
    faulthandler.cancel_dump_traceback_later()  # the long proof takes longer than a test may; it has limits of its own
    with reading() as (reader, url):
        home.configure(CONFIG.format(secret=SECRET, url=url))
        with posting() as platform:
            for _ in range(KILLS):
                with home.start("run") as program:
                    platform.url = where(program)
                    time.sleep(chance.uniform(*LIFE_SECONDS))  # real time: of another process
                    program.signal(signal.SIGKILL)
                    program.wait()
                    platform.url = ""
            with home.start("run") as program:
                platform.url = where(program)
                time.sleep(LIFE_SECONDS[1])  # real time: the same
                platform.finish()
                assert reader.wait_for(platform.acknowledged), platform.acknowledged - set(reader.got)
                program.signal(signal.SIGTERM)
                assert 0 == program.wait()
    audit = json.loads(home.run("sessions", "audit", "--json").stdout)
    said = len(platform.acknowledged)
    sys.stdout.write(
        f"{KILLS} kills, {SESSIONS} sessions, {said} messages acknowledged after {platform.tries} tries,"
        f" {time.monotonic() - began:.0f} s: {audit}\n"
    )
    for name in platform.acknowledged:
        answers = {(answer["key"], answer["text"]) for answer in reader.got[name]}
        assert 1 == len(answers), answers
        assert f"{value_of(name) + 1}" in answers.pop()[1].replace(",", "")
    assert (True, [], 0, 0) == (audit["ok"], audit["faults"], audit["waiting"], audit["undelivered"])
    assert said <= audit["accepted"] == audit["answered"] == audit["sent"]
    assert SESSIONS == audit["sessions"]
