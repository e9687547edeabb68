"""The channel starts, stops and fails as the core expects, whatever its clients do."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from contextlib import suppress

import httpx2
import pytest
import trio

from fairlead.errors import FairleadError
from fairlead.testing import FakeInbox
from fairlead_webhook._channel import WebhookChannel

from .far import NOW, Sender, answer_to, make_channel, message, opened, running, signed

LIMIT = 5.0
"""Seconds in which a channel stops."""


async def stop_beside(channel: WebhookChannel, *requests: str) -> tuple[float, list[bytes]]:
    """Stop while clients misbehave: the seconds that it took, and what each client was told."""
    took, told = 0.0, []
    streams: list[trio.SocketStream] = []
    async with running(channel) as (sender, inbox):
        whole = sender.request(message(wait=60))
        parts = {"head": whole[:25], "body": whole[:-5], "waits": whole, "idle": b"", "ends": b"x"}
        for request in requests:
            streams.append(await sender.connect())
            await streams[-1].send_all(parts[request])
            if request == "waits":
                await inbox.next()
        # Whatever was sent before this answer has been read by the server.
        await sender.client.get(sender.url.replace("/messages", "/health"))
        began = trio.current_time()
    took = trio.current_time() - began
    for stream in streams:
        try:
            told.append(await stream.receive_some())
        except trio.BrokenResourceError:
            told.append(b"")
        await stream.aclose()
    return took, told


async def test_stops_at_once_without_clients() -> None:
    """Nothing to wait for."""
    took, _ = await stop_beside(make_channel())
    assert took < 1


async def test_half_sent_requests_do_not_hold_it_up() -> None:
    """Half a head, half a body, a connection without a request: closed, the half body with a word."""
    took, told = await stop_beside(make_channel(read_seconds=60), "head", "body", "idle")
    assert took < 1
    assert [b"", b"HTTP/1.1 503", b""] == [words[:12] for words in told]


async def test_waiting_request_is_told_that_its_message_is_accepted() -> None:
    """Within the time of the stop: 202; the answer may still come by the configured URL."""
    took, told = await stop_beside(make_channel(), "waits")
    assert took < LIMIT
    assert b"HTTP/1.1 202" == told[0][:12]


async def test_client_that_does_not_read_is_cut_off() -> None:
    """More is written to it than its buffers take; it never reads, and the channel stops all the same."""
    channel = make_channel(max_body_bytes=100_000)
    async with running(channel) as (sender, inbox):
        url = httpx2.URL(sender.url)
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(deaf))
        await stream.socket.connect((url.host, url.port))
        await stream.send_all(sender.request(message(wait=60)))
        inbound = await inbox.next()
        with trio.move_on_after(0.3):  # the answer is written, and not taken
            await channel.send(answer_to(inbound, "x" * 20_000_000))
        began = trio.current_time()
    assert trio.current_time() - began < LIMIT
    await stream.aclose()


async def test_no_thread_is_left_behind() -> None:
    """Each run has its own, which ends with it."""

    def own() -> list[str]:
        """Threads of other tests and of trio come and go meanwhile."""
        return [thread.name for thread in threading.enumerate() if thread.name == "webhook"]

    channel = make_channel()
    assert [] == own()
    async with running(channel):
        assert ["webhook"] == own()
    assert [] == own()


async def test_runs_again_after_it_was_stopped() -> None:
    """The core runs a channel again that failed."""
    channel = make_channel()
    async with opened(channel):
        for number in range(2):
            inbox = FakeInbox()
            async with trio.open_nursery() as nursery, httpx2.AsyncClient(trust_env=False) as client:
                nursery.start_soon(channel.run, inbox)
                url = await inbox.wait_ready()
                body = b"{}"
                response = await client.post(url, content=body, headers=signed(body, NOW, "of somebody else, surely"))
                nursery.cancel_scope.cancel()
            assert 401 == response.status_code, number
    assert "" == channel.url


async def test_address_that_is_taken_is_an_error_of_run() -> None:
    """With the address and the command that shows who has it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        channel = make_channel(port=taken.getsockname()[1])
        async with opened(channel):
            with pytest.raises(FairleadError, match=r"cannot listen on 127\.0\.0\.1:\d+: .*in use") as caught:
                await channel.run(FakeInbox())
            finding = (await channel.check())[0]
    assert "ss -ltnp" in caught.value.next_step
    assert not finding.ok


async def test_crash_of_the_servers_thread_is_an_error_of_run() -> None:
    """The core reports it, and runs the channel again."""
    channel = make_channel()
    called: list[float] = []

    def clock() -> float:
        """Called in the server's thread, with every request."""
        if not called:
            asyncio.get_running_loop().call_soon(sys.exit, "the end of the loop")
        called.append(NOW)
        return NOW

    channel.clock = clock
    async with opened(channel), trio.open_nursery() as nursery, httpx2.AsyncClient(trust_env=False) as client:
        inbox = FakeInbox()

        async def knock() -> None:
            with suppress(httpx2.HTTPError):
                await Sender(await inbox.wait_ready(), client, NOW).post(message())

        nursery.start_soon(knock)
        with trio.fail_after(5), pytest.raises(FairleadError, match=r"ended by itself \(SystemExit: the end"):
            await channel.run(inbox)


async def test_check_says_where_it_listens() -> None:
    """While it runs, its own port is not taken for somebody else's."""
    channel = make_channel()
    async with running(channel) as (sender, _):
        finding = (await channel.check())[0]
    assert (True, f"listens on {sender.url}") == (finding.ok, finding.detail)
