"""HTTP in: what is taken, and what is refused at the door."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import trio

from fairlead import Address, Audio, Data, File, Image, Inbound, Principal, Receipt, Text
from fairlead.errors import JournalUnavailable, SchemaError
from fairlead.testing import FakeInbox

from .far import NOW, SECRET, make_channel, message, running, signed


async def test_message_is_accepted_when_the_journal_has_it() -> None:
    """202 with the ids that the core gave; author, address and id are what was sent."""
    async with running(make_channel()) as (sender, inbox):
        author = {"id": "ann", "name": "Ann", "roles": ["staff"]}
        response = await sender.post(message("hi", author=author, thread="t1"))
    expected = Inbound(
        Address("hook", "", "room", "t1"), Principal("hook:ann", "Ann", ("staff",)), (Text("hi"),), external_id="m1"
    )
    assert 202 == response.status_code
    assert {"status": "accepted", "session": "kit"} == {key: response.json()[key] for key in ("status", "session")}
    assert [expected] == inbox.accepted


async def test_parts_of_all_kinds_arrive() -> None:
    """Media as base64 or as an https URL."""
    data = base64.b64encode(b"\x00\x01").decode()
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image", "media_type": "image/png", "data": data, "alt": "a dot"},
        {"type": "audio", "media_type": "audio/ogg", "url": "https://example.org/a.ogg"},
        {"type": "file", "media_type": "text/plain", "name": "a.txt", "data": data},
        {"type": "data", "value": {"n": 1}},
    ]
    value = {**message(), "parts": parts}
    del value["text"]
    async with running(make_channel()) as (sender, inbox):
        response = await sender.post(value)
    assert 202 == response.status_code, response.text
    assert (
        Text("look"),
        Image("image/png", b"\x00\x01", alt="a dot"),
        Audio("audio/ogg", url="https://example.org/a.ogg"),
        File("a.txt", "text/plain", b"\x00\x01"),
        Data({"n": 1}),
    ) == inbox.accepted[0].parts


async def test_message_that_comes_again_is_a_duplicate() -> None:
    """The sender may repeat what it is not sure of: 200, and nothing new."""
    async with running(make_channel()) as (sender, inbox):
        await sender.post(message())
        response = await sender.post(message(wait=10))
    assert (200, "duplicate") == (response.status_code, response.json()["status"])
    assert 1 == len(inbox.accepted)


async def test_bad_signature_is_refused_before_the_body_is_read_as_json() -> None:
    """401 for what is not even JSON: nothing of an unsigned body is looked at."""
    async with running(make_channel()) as (sender, inbox):
        headers = signed(b"{", NOW, "a secret of somebody else")
        response = await sender.client.post(sender.url, content=b"{", headers=headers)
    assert (401, "signature") == (response.status_code, response.json()["error"])
    assert [] == inbox.accepted


async def test_missing_signature_is_refused_before_the_body_is_sent() -> None:
    """401 from the headers alone, while the client still holds back its body."""
    async with running(make_channel()) as (sender, _), await sender.connect() as stream:
        await stream.send_all(b"POST /messages HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n")
        assert b"HTTP/1.1 401 Unauthorized" == (await stream.receive_some()).partition(b"\r\n")[0]


async def test_old_signature_is_refused() -> None:
    """A captured request is worth nothing five minutes later."""
    async with running(make_channel()) as (sender, _):
        sender.now = NOW - 301
        response = await sender.post(message())
    assert 401 == response.status_code


async def test_previous_secret_is_taken_too() -> None:
    """Senders change to the new secret one after the other."""
    async with running(make_channel(secret="the new secret is longer", previous_secret=SECRET)) as (sender, _):
        response = await sender.post(message())
    assert 202 == response.status_code


async def test_large_body_is_refused_by_its_declared_length() -> None:
    """413 before a byte of it is read."""
    async with running(make_channel(max_body_bytes=1000)) as (sender, _):
        response = await sender.post(message("x" * 2000))
    assert 413 == response.status_code


async def test_large_body_is_refused_while_it_is_read() -> None:
    """413 as soon as the limit is passed, where the length was not declared and the body has no end."""
    async with running(make_channel(max_body_bytes=1000)) as (sender, inbox), await sender.connect() as stream:
        lines = [f"{name}: {value}" for name, value in signed(b"", NOW).items()]
        head = ["POST /messages HTTP/1.1", "Host: test", "Transfer-Encoding: chunked", *lines, "", ""]
        await stream.send_all("\r\n".join(head).encode() + b"3e9\r\n" + b"x" * 1001 + b"\r\n")
        with trio.fail_after(5):
            assert b"HTTP/1.1 413" == (await stream.receive_some())[:12]
    assert [] == inbox.accepted


async def test_body_that_does_not_come_is_given_up() -> None:
    """408 after `read_seconds`: a client that sends slowly does not hold a place."""
    async with running(make_channel(read_seconds=0.05)) as (sender, _), await sender.connect() as stream:
        await stream.send_all(sender.request(message())[:-3])
        with trio.fail_after(5):
            assert b"HTTP/1.1 408" == (await stream.receive_some())[:12]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"author": {"id": 7}}, "/author/id"),
        ({"id": ""}, "/id"),
        ({"conversation": "x" * 201}, "/conversation"),
        ({"wait": 61}, "/wait"),
        ({"parts": [{"type": "text", "text": "x"}]}, "/"),
        ({"unknown": 1}, "/"),
        ({"reply_url": "file:///etc/passwd"}, "/reply_url"),
        ({"text": None}, "/text"),
    ],
)
async def test_wrong_schema_is_refused_with_the_path(wrong: dict[str, Any], path: str) -> None:
    """422, and where in the value the fault is."""
    async with running(make_channel()) as (sender, inbox):
        response = await sender.post(message(**wrong))
    assert (422, path) == (response.status_code, response.json().get("path")), response.text
    assert [] == inbox.accepted


@pytest.mark.parametrize("part", [{"type": "image", "media_type": "image/png", "data": "no base64!"}, {"type": "text"}])
async def test_bad_part_is_refused_with_its_place(part: dict[str, Any]) -> None:
    """422 with the number of the part."""
    value = {**message(), "parts": [{"type": "text", "text": "x"}, part]}
    del value["text"]
    async with running(make_channel()) as (sender, _):
        response = await sender.post(value)
    assert (422, "/parts/1") == (response.status_code, response.json()["path"][:8]), response.text


@pytest.mark.parametrize("body", [b"{", b'{"id": 1, "id": 2}', b"[NaN]", b"\xff", b"[" * 100_000])
async def test_body_that_is_no_json_is_refused(body: bytes) -> None:
    """400; also for what Python's reader takes or chokes on."""
    async with running(make_channel()) as (sender, _):
        response = await sender.client.post(sender.url, content=body, headers=signed(body, NOW))
    assert (400, "json") == (response.status_code, response.json()["error"])


async def test_journal_that_is_away_is_a_reason_to_come_again() -> None:
    """503 with Retry-After; the same message is taken afterwards."""
    inbox = FakeInbox()
    inbox.fail_next(JournalUnavailable("the disk is full"))
    async with running(make_channel(), inbox) as (sender, _):
        first = await sender.post(message())
        second = await sender.post(message())
    assert (503, "5") == (first.status_code, first.headers["Retry-After"])
    assert 202 == second.status_code


async def test_full_queue_is_too_many_requests() -> None:
    """429 with the notice of the core and Retry-After."""
    inbox = FakeInbox()
    inbox.fail_next(Receipt("refused", notice="50 messages are waiting already"))
    async with running(make_channel(), inbox) as (sender, _):
        response = await sender.post(message())
    assert (429, "50 messages are waiting already") == (response.status_code, response.json()["detail"])
    assert "Retry-After" in response.headers


async def test_message_that_the_core_finds_malformed_is_refused() -> None:
    """422, as for the schema."""
    inbox = FakeInbox()
    inbox.fail_next(SchemaError("too large", path="/parts"))
    async with running(make_channel(), inbox) as (sender, _):
        response = await sender.post(message())
    assert (422, "/parts") == (response.status_code, response.json()["path"])


async def test_fault_of_the_core_is_an_internal_error_and_the_channel_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """500 without the fault's text, which the log has."""
    inbox = FakeInbox()
    inbox.fail_next(RuntimeError("the inner life of the core"))
    async with running(make_channel(), inbox) as (sender, _):
        first = await sender.post(message())
        second = await sender.post(message())
    assert [500, 202] == [first.status_code, second.status_code]
    assert "inner life" not in first.text
    assert "the inner life of the core" in caplog.text


class SlowInbox(FakeInbox):
    """Holds every message until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = trio.Event()
        self.free = trio.Event()

    async def accept(self, inbound: Inbound) -> Receipt:
        self.reached.set()
        await self.free.wait()
        return await super().accept(inbound)


async def test_too_many_requests_at_once_are_asked_to_come_again() -> None:
    """503 with Retry-After at the limit, while /health and /ready still answer; afterwards there is room again."""
    inbox = SlowInbox()
    codes = []
    async with running(make_channel(max_requests=1), inbox) as (sender, _), trio.open_nursery() as nursery:

        async def first() -> None:
            codes.append((await sender.post(message(id="1"))).status_code)

        nursery.start_soon(first)
        await inbox.reached.wait()
        busy = await sender.post(message(id="2"))
        states = [
            (await sender.client.get(sender.url.replace("/messages", path))).json() for path in ("/health", "/ready")
        ]
        inbox.free.set()
    async with running(make_channel(max_requests=1)) as (sender, _):
        again = [(await sender.post(message(id=str(number)))).status_code for number in range(3)]
    assert [202] == codes
    assert (503, "busy", "1") == (busy.status_code, busy.json()["error"], busy.headers["Retry-After"])
    assert [{"status": "ok"}, {"status": "ready"}] == states
    assert [202, 202, 202] == again


async def test_reply_url_of_a_host_that_is_not_allowed_is_refused() -> None:
    """403 at once: not after the model was paid."""
    async with running(make_channel()) as (sender, inbox):
        response = await sender.post(message(reply_url="https://evil.example/"))
    assert (403, "/reply_url") == (response.status_code, response.json()["path"])
    assert [] == inbox.accepted


async def test_reply_url_is_part_of_the_address() -> None:
    """So it is in the journal, and a later process can answer."""
    async with running(make_channel(reply_hosts=["hooks.example.org"])) as (sender, inbox):
        await sender.post(message(reply_url="https://hooks.example.org/in"))
    assert Address("hook", "https://hooks.example.org/in", "room") == inbox.accepted[0].address


async def test_path_is_configurable() -> None:
    """Everything else is not found, and another method is not allowed."""
    async with running(make_channel(path="/hooks/in")) as (sender, _):
        taken = await sender.post(message())
        root = sender.url.removesuffix("/hooks/in")
        elsewhere = await sender.client.post(f"{root}/messages", content=b"")
        read = await sender.client.get(sender.url)
    assert [202, 404, 405] == [taken.status_code, elsewhere.status_code, read.status_code]
    assert sender.url.endswith("/hooks/in")


async def test_answer_can_not_be_played_back_as_a_message() -> None:
    """What the channel signs itself has another form than what it takes."""
    body = json.dumps({"id": "t1", "conversation": "room", "kind": "answer", "text": "hi", "parts": []}).encode()
    async with running(make_channel()) as (sender, _):
        response = await sender.client.post(sender.url, content=body, headers=signed(body, NOW))
    assert 422 == response.status_code
