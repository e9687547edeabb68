"""The whole town: a dovecot, a post office that delivers into it, people with mail programs, and `fairlead run`."""

from __future__ import annotations

import imaplib
import json
import os
import signal
import smtplib
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import make_msgid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from attrs import define, field

from .dovecot import PASSWORD, Dovecot, serving
from .post import Post, posting, text_of

BOT = "bot@example.org"
SERVER = "mx.example.org"
SECONDS = 30.0
COMMAND = (sys.executable, "-m", "fairlead_cli")
POLICIES = """
[tools.calculator]

[[policies.rules.rules]]
name = "tools"
effect = "allow"
actions = ["tool_call"]

[policies.contacts]"""
_TICK = threading.Event()


def pause() -> None:
    """A moment of real time: other processes are waited for."""
    _TICK.wait(0.05)


@define(eq=False)
class Town:
    """Its servers."""

    dovecot: Dovecot
    post: Post
    queue: ThreadPoolExecutor = field(factory=lambda: ThreadPoolExecutor(1))

    def deliver(self, address: str, raw: bytes) -> None:
        """As a mail server does: from a queue, with what it found out about the sender on top."""
        domain = str(message_from_bytes(raw, policy=policy.default)["From"].addresses[0].domain)
        result = f"Authentication-Results: {SERVER}; dmarc=pass header.from={domain}\r\n"
        self.queue.submit(self.dovecot.put, address, result.encode() + raw)

    def settle(self) -> None:
        """Until everything is delivered."""
        self.queue.submit(pause).result(SECONDS)

    @property
    def table(self) -> dict[str, object]:
        return {
            "address": BOT,
            "password": PASSWORD,
            "imap": f"imaps://127.0.0.1:{self.dovecot.imaps}",
            "smtp": f"smtps://127.0.0.1:{self.post.port}",
            "ca_file": str(self.dovecot.cert),
            "authserv_id": SERVER,
            "retry_seconds": 0.5,
            "reconnect_seconds": 1,
        }


@contextmanager
def town() -> Iterator[Town]:
    with serving() as dovecot, posting(dovecot.cert) as post:
        place = Town(dovecot, post)
        post.deliver = place.deliver
        try:
            yield place
        finally:
            place.queue.shutdown()


@define(eq=False)
class Person:
    """Somebody with a mail program: the clients of the standard library."""

    town: Town
    address: str

    def write(self, text: str, subject: str = "A question", answers: EmailMessage | None = None) -> str:
        """Send a mail to the bot; its Message-ID."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.address, BOT, subject
        mail["Message-ID"] = make_msgid(domain="example.net")
        if answers is not None:
            mail["In-Reply-To"] = answers["Message-ID"]
            mail["References"] = f"{answers['References']} {answers['Message-ID']}"
        mail.set_content(text)
        context = ssl.create_default_context(cafile=self.town.dovecot.cert)
        with smtplib.SMTP_SSL("127.0.0.1", self.town.post.port, context=context) as client:
            client.login(self.address, PASSWORD)
            client.send_message(mail)
        return str(mail["Message-ID"])

    def inbox(self) -> list[EmailMessage]:
        self.town.settle()
        raws = (raw for _, raw in self.town.dovecot.mails(self.address))
        return [message_from_bytes(raw, policy=policy.default) for raw in raws]

    def wait_for(self, count: int) -> list[EmailMessage]:
        """Until so many mails have come."""
        deadline = time.monotonic() + SECONDS
        found: list[EmailMessage] = []
        while len(found) < count:
            with suppress(OSError, imaplib.IMAP4.error):  # the server may be away
                found = self.inbox()
            assert time.monotonic() < deadline, [text_of(mail) for mail in found]
            pause()
        return found


class SlowModel:
    """A server of models that thinks until it is told to answer: the last words it was told."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        """Released for each question."""
        self.go_on = threading.Event()
        self.url = ""

    def answer(self, body: dict[str, object]) -> str:
        self.asked.release()
        self.go_on.wait(SECONDS)
        messages = body["messages"]
        assert isinstance(messages, list)
        return f"You said: {messages[-1]['content']}"


@contextmanager
def thinking() -> Iterator[SlowModel]:
    model = SlowModel()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            words = model.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            frame = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            delta = {"index": 0, "delta": {"role": "assistant", "content": words}, "finish_reason": "stop"}
            with suppress(OSError):  # who asked was killed meanwhile
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self.wfile.write(f"data: {json.dumps({**frame, 'choices': [delta]})}\n\ndata: [DONE]\n\n".encode())

        def log_message(self, *args: object) -> None:
            """The tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    model.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield model
    finally:
        model.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


@define(eq=False)
class Run:
    """`fairlead run` in a directory of its own."""

    path: Path
    process: subprocess.Popen[bytes] | None = None
    lives: int = field(default=0)

    @property
    def environment(self) -> dict[str, str]:
        ours = ("FAIRLEAD_", "OPENAI_", "ANTHROPIC_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**inherited, "FAIRLEAD_DATA": str(self.path / "data")}

    def start(self) -> None:
        """And wait until it reads the mailbox."""
        self.lives += 1
        with (self.path / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "run"],
                cwd=self.path,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + SECONDS
        while (self.path / "log").read_text("utf-8").count(f"listening at {BOT}") < self.lives:
            assert self.process.poll() is None, (self.path / "log").read_text("utf-8")
            assert time.monotonic() < deadline, (self.path / "log").read_text("utf-8")
            pause()

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(2 * SECONDS)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words], cwd=self.path, env=self.environment, capture_output=True, text=True, check=False
        )


@contextmanager
def run(path: Path, configuration: str) -> Iterator[Run]:
    (path / "fairlead.toml").write_text(configuration)
    started = Run(path)
    started.start()
    try:
        yield started
    finally:
        if started.process is not None and started.process.poll() is None:
            started.process.kill()
            started.process.wait(SECONDS)


def toml(table: dict[str, object], allow: Sequence[str], more: str) -> str:
    """A configuration with the channel, who may talk, and a model."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(["[channels.email]", *lines, POLICIES, f"allow = {json.dumps(list(allow))}", more])
