"""The gateway under load: `fairlead run` with a webhook, many conversations at once, every answer posted back.

    uv run python tests/benchmarks/gateway.py [--conversations 200] [--messages 10] [--directory DIR]

A conversation sends its next message when the last one was acknowledged, which is when the journal has it. The model is
the rehearsal, which answers at once; 100 rules are on. The load is made by this process, beside the gateway's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import trio
from attrs import define, field
from figures import Part, Row, Section, print_parts

from fairlead_webhook._signing import SIGNATURE, TIMESTAMP, sign

SECRET = "a-secret-of-this-benchmark-only"
PATIENCE = 120.0
"""Seconds for the answers after the last acknowledgement."""
CONFIG = """
data_dir = "{data}"
[memories.sqlite]
[providers.rehearsal]
[models]
default = ["rehearsal/rehearsal"]
[tools.calculator]
[policies.rules]
rules = [{rules}]
[channels.webhook]
port = 0
secret = {{ env = "WEBHOOK_SECRET" }}
reply_url = "http://127.0.0.1:{answers}/answers"
max_requests = {conversations}
"""
RULE = '{{ name = "rule {n}", effect = "{effect}", actions = ["tool_call"], resources = ["{tool}"], layer = "app" }}'
TOLD = "channels/webhook: listening at "


@define
class Load:
    """What came of it."""

    acknowledged: list[float] = field(factory=list)
    """Seconds, of each message."""
    refused: int = 0
    answers: set[str] = field(factory=set)
    """Keys of those that arrived."""
    twice: int = 0
    expected: int = 0
    all_answered: trio.Event = field(factory=trio.Event)


def config(directory: Path, answers: int, conversations: int) -> Path:
    rules = [RULE.format(n=n, effect="deny", tool=f"tool_{n}") for n in range(99)]
    rules.append(RULE.format(n=99, effect="allow", tool="calculate"))
    path = directory / "fairlead.toml"
    values = {"data": directory / "data", "rules": ", ".join(rules), "answers": answers}
    path.write_text(CONFIG.format(**values, conversations=conversations), "utf-8")
    return path


@contextlib.contextmanager
def running(path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`fairlead run`, and the port at which it listens."""
    command = [sys.executable, "-m", "fairlead_cli", "run", "--config", str(path)]
    environment = {**os.environ, "WEBHOOK_SECRET": SECRET}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as one:
        assert one.stdout is not None
        try:
            for line in one.stdout:
                if line.startswith(TOLD):
                    yield one, int(line.removeprefix(TOLD).split("/")[2].rpartition(":")[2])
                    break
            else:
                raise SystemExit("fairlead run ended before it listened")
        finally:
            one.send_signal(signal.SIGTERM)
            one.stdout.read()
            one.wait(60)


# -- HTTP, as little of it as both sides need


async def heads(stream: trio.SocketStream) -> AsyncGenerator[tuple[str, bytes], None]:
    """Head and body of one request or response after the other."""
    received = bytearray()
    while True:
        while (end := received.find(b"\r\n\r\n")) < 0:
            chunk = await stream.receive_some()
            if not chunk:
                return
            received += chunk
        head = bytes(received[:end]).decode().lower()
        length = int(head.partition("content-length:")[2].split("\r\n")[0] or 0)
        while len(received) < end + 4 + length:
            received += await stream.receive_some()
        yield head, bytes(received[end + 4 : end + 4 + length])
        del received[: end + 4 + length]


def request(conversation: int, message: int) -> bytes:
    body = json.dumps(
        {
            "id": f"m{message}",
            "conversation": f"room {conversation}",
            "author": {"id": f"person {conversation}"},
            "text": f"What is {message} * {conversation}?",
        }
    ).encode()
    now = str(int(time.time()))
    lines = ["POST /messages HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"{TIMESTAMP}: {now}", f"{SIGNATURE}: {sign(SECRET, now, body)}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def converse(port: int, conversation: int, messages: int, load: Load) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream, contextlib.aclosing(heads(stream)) as responses:
        for message in range(messages):
            started = time.perf_counter()
            await stream.send_all(request(conversation, message))
            head, _ = await anext(responses)
            if " 202 " in head.partition("\r\n")[0]:
                load.acknowledged.append(time.perf_counter() - started)
            else:
                load.refused += 1


async def take(stream: trio.SocketStream, load: Load) -> None:
    """Answers, posted to us."""
    async with stream, contextlib.aclosing(heads(stream)) as requests:
        async for head, _ in requests:
            key = head.partition("idempotency-key:")[2].split("\r\n")[0].strip()
            load.twice += key in load.answers
            load.answers.add(key)
            if len(load.answers) == load.expected:
                load.all_answered.set()
            await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")


# -- the figures


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(directory: Path, conversations: int, messages: int) -> dict[str, float]:
    """One run; `SystemExit`: a message was refused, lost, or answered twice."""
    load = Load(expected=conversations * messages)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, lambda stream: take(stream, load), listeners)
        answers = listeners[0].socket.getsockname()[1]
        with running(config(directory, answers, conversations)) as (process, port):
            idle, used, started = resident_mb(process.pid), cpu_seconds(process.pid), time.perf_counter()
            async with trio.open_nursery() as talks:
                for conversation in range(conversations):
                    talks.start_soon(converse, port, conversation, messages, load)
            sent = time.perf_counter() - started
            with trio.move_on_after(PATIENCE):
                await load.all_answered.wait()
            answered = time.perf_counter() - started
            spent = cpu_seconds(process.pid) - used
            resident = resident_mb(process.pid)
        nursery.cancel_scope.cancel()
    count = load.expected
    if load.refused or load.twice or len(load.answers) != count:
        said = f"{load.refused} refused, {load.twice} twice, {count - len(load.answers)} not answered"
        raise SystemExit(f"of {count} messages: {said}")
    cuts = statistics.quantiles(load.acknowledged, n=100)
    return {
        "acknowledged": count / sent,
        "answered": count / answered,
        "p50": cuts[49] * 1000,
        "p99": cuts[98] * 1000,
        "cpu": spent / count * 1e6,
        "idle": idle,
        "resident": resident,
    }


def run(where: str | None, conversations: int, messages: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=where) as directory:
        return trio.run(measure, Path(directory), conversations, messages)


def parts(found: dict[str, float], conversations: int) -> Iterator[Part]:
    whats = {
        "acknowledged": ("messages acknowledged durably", "/s"),
        "answered": ("messages answered, the answer delivered", "/s"),
        "p50": ("until the acknowledgement, median", "ms"),
        "p99": ("until the acknowledgement, p99", "ms"),
        "cpu": ("CPU of a message, from its request to its answer", "us"),
        "idle": ("resident before", "MB"),
        "resident": ("resident after", "MB"),
    }
    rows = tuple(Row(what, (found[name],), unit) for name, (what, unit) in whats.items())
    yield Section(f"fairlead run, {conversations} conversations at once, a tool in each turn", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--messages", type=int, default=10, help="of each")
    parser.add_argument("--directory", help="where the journal is kept: name the disk that counts")
    given = parser.parse_args()
    print_parts(parts(run(given.directory, given.conversations, given.messages), given.conversations))


if __name__ == "__main__":
    main()
