"""The webhook: who knows the secret is heard, others learn and cost nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from fairlead.errors import FairleadError, JournalUnavailable
from fairlead.testing import FakeInbox
from fairlead_telegram import _hook
from fairlead_telegram._channel import TelegramChannel

from .far import make_channel, opened, running, until
from .methods import ANN, PRIVATE
from .server import FakeTelegram, serving

HOOK: dict[str, Any] = {"webhook_url": "https://example.org/telegram", "port": 0}
HEADER = "X-Telegram-Bot-Api-Secret-Token"


@asynccontextmanager
async def hooked(
    tmp_path: Path, **options: Any
) -> AsyncIterator[tuple[TelegramChannel, FakeInbox, FakeTelegram, httpx2.AsyncClient]]:
    async with (
        running(tmp_path, **HOOK, **options) as (channel, inbox, telegram),
        httpx2.AsyncClient(base_url=telegram.reached_at, trust_env=False, timeout=10) as client,
    ):
        yield channel, inbox, telegram, client


def update(number: int = 1, text: str = "hello") -> bytes:
    body = {"message_id": 100_000 + number, "date": 1, "chat": PRIVATE, "from": ANN, "text": text}
    return json.dumps({"update_id": number, "message": body}).encode()


async def test_channel_sets_its_webhook_and_is_reached(tmp_path: Path) -> None:
    """With a secret that is made anew each time, and the kinds that it wants; doctor finds it."""
    async with hooked(tmp_path) as (channel, inbox, telegram, _):
        (call,) = telegram.methods("setWebhook")
        telegram.say("hello")
        await inbox.next()
        await until(telegram, lambda far: not far.updates)
        findings = await channel.check()
        telegram.webhook["error"] = "Connection refused"
        failing = (await channel.check())[1]
        telegram.webhook = {}
        taken = (await channel.check())[1]
    assert ("https://example.org/telegram", 43) == (call["url"], len(call["secret_token"]))
    assert ["message", "callback_query", "my_chat_member"] == call["allowed_updates"]
    assert [True, True] == [finding.ok for finding in findings]
    assert (False, "Telegram could not deliver: Connection refused") == (failing.ok, failing.detail)
    assert (False, True) == (taken.ok, "nowhere" in taken.detail)


@pytest.mark.parametrize("secret", [None, "", "x", "\u00e9"])
async def test_who_does_not_know_the_secret_is_turned_away(tmp_path: Path, secret: str | None) -> None:
    """Before anything is read of what they send."""
    async with hooked(tmp_path) as (_, inbox, __, client):
        headers = {} if secret is None else {HEADER: secret.encode()}
        response = await client.post("", content=b"x" * 2_000_000, headers=headers)  # type: ignore[arg-type]  # bytes are taken too
    assert 401 == response.status_code
    assert [] == inbox.accepted


async def test_odd_requests_have_their_status(tmp_path: Path) -> None:
    """And the connection can be used again where the whole request was read."""
    async with hooked(tmp_path) as (_, inbox, telegram, client):
        headers = {HEADER: telegram.webhook["secret_token"]}
        found = [
            (await client.get("", headers=headers)).status_code,
            (await client.post("", content=b"{", headers=headers)).status_code,
            (await client.post("", content=b"[" * 100_000, headers=headers)).status_code,
            (await client.post("", content=b"x" * 2_000_000, headers=headers)).status_code,
            (await client.post("", content=b"[]", headers=headers)).status_code,
            (await client.post("", content=b'{"update_id": 5, "new_kind": {}}', headers=headers)).status_code,
            (await client.post("", content=update(), headers=headers)).status_code,
        ]
        await inbox.next()
    assert [405, 400, 400, 413, 200, 200, 200] == found


async def test_what_was_not_kept_comes_again(tmp_path: Path) -> None:
    """503: Telegram keeps it and posts it again."""
    async with hooked(tmp_path) as (_, inbox, telegram, client):
        headers = {HEADER: telegram.webhook["secret_token"]}
        inbox.fail_next(JournalUnavailable("full"))
        first = await client.post("", content=update(), headers=headers)
        second = await client.post("", content=update(), headers=headers)
    assert [503, 200] == [first.status_code, second.status_code]
    assert 1 == len(inbox.accepted)


async def test_updates_that_overtake_each_other_are_put_in_order(tmp_path: Path) -> None:
    """Telegram posts several at a time; they are numbered."""
    async with hooked(tmp_path) as (_, inbox, telegram, client):
        headers = {HEADER: telegram.webhook["secret_token"]}

        async def post(number: int) -> None:
            await client.post("", content=update(number, str(number)), headers=headers)

        await post(1)
        async with trio.open_nursery() as nursery:
            for number in (5, 4, 3, 2):
                nursery.start_soon(post, number)
                await trio.testing.wait_all_tasks_blocked(0.01)
        await post(9)  # those between were of kinds that nobody asked for
    assert ["1", "2", "3", "4", "5", "9"] == [
        got.parts[0].text for got in inbox.accepted if hasattr(got.parts[0], "text")
    ]


async def test_slow_and_silent_clients_hold_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are cut off in time; a body that does not come is 408."""
    monkeypatch.setattr(_hook, "READ_SECONDS", 0.2)
    monkeypatch.setattr(_hook, "IDLE_SECONDS", 0.5)
    async with hooked(tmp_path) as (_, inbox, telegram, client):
        url = httpx2.URL(telegram.reached_at)
        secret = telegram.webhook["secret_token"]
        head = f"POST / HTTP/1.1\r\nHost: x\r\n{HEADER}: {secret}\r\nContent-Length: 100\r\n"
        ends = {
            "": b"",
            head: b"",
            head + "\r\n{": b"HTTP/1.1 408",
            head + "Expect: 100-continue\r\n\r\n": b"HTTP/1.1 100",
        }
        for sent, expected in ends.items():
            async with await trio.open_tcp_stream(url.host, url.port or 0) as stream:
                await stream.send_all(sent.encode())
                assert expected == (await stream.receive_some())[:12]
        async with await trio.open_tcp_stream(url.host, url.port or 0) as stream:
            await stream.send_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n" * 2000)
        assert 200 == (await client.post("", content=update(), headers={HEADER: secret})).status_code
        assert 1 == len(inbox.accepted)


async def test_too_many_connections_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are there go on."""
    monkeypatch.setattr(_hook, "MAX_CONNECTIONS", 1)
    async with hooked(tmp_path) as (_, __, telegram, client):
        headers = {HEADER: telegram.webhook["secret_token"]}
        assert 200 == (await client.post("", content=update(), headers=headers)).status_code
        url = httpx2.URL(telegram.reached_at)
        async with await trio.open_tcp_stream(url.host, url.port or 0) as stream:
            assert b"" == await stream.receive_some()
        assert 200 == (await client.post("", content=update(2), headers=headers)).status_code


async def test_too_many_updates_at_once_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, which Telegram repeats."""
    monkeypatch.setattr(_hook, "MAX_TAKEN", 0)
    async with hooked(tmp_path) as (_, __, telegram, client):
        headers = {HEADER: telegram.webhook["secret_token"]}
        assert 503 == (await client.post("", content=update(), headers=headers)).status_code


async def test_address_that_is_taken_is_an_error_of_run(tmp_path: Path) -> None:
    """With the command that shows who has it."""
    with serving() as telegram, socket.create_server(("127.0.0.1", 0)) as taken:
        channel = make_channel(telegram, tmp_path, **{**HOOK, "port": taken.getsockname()[1]})
        async with opened(channel):
            with pytest.raises(FairleadError, match=r"cannot listen on 127\.0\.0\.1:\d+") as caught:
                await channel.run(FakeInbox())
    assert "ss -ltnp" in caught.value.next_step


async def test_address_that_telegram_does_not_take_is_an_error_of_run(tmp_path: Path) -> None:
    """In its words; a server of it that is busy is asked again."""
    with serving() as telegram:
        channel = make_channel(telegram, tmp_path, **HOOK)
        busy: dict[str, Any] = {"parameters": {"retry_after": 0}}
        telegram.fail("setWebhook", 429, "Too Many Requests", **busy)
        telegram.fail("setWebhook", 502, "Bad Gateway")
        telegram.fail("setWebhook", 400, "Bad Request: bad webhook: Failed to resolve host")
        async with opened(channel):
            with trio.fail_after(10), pytest.raises(FairleadError, match="Failed to resolve host") as caught:
                await channel.run(FakeInbox())
    assert "[channels.telegram]" in caught.value.next_step
