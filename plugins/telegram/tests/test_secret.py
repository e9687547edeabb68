"""The token is a part of each address, and is never seen: not in logs, not in errors, not in findings."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from fairlead import Data, Image, Secret
from fairlead.errors import FairleadError
from fairlead.testing import FakeInbox
from fairlead_telegram._api import Api, ApiError, Refused, Unreached, Unsure

from .far import answer, make_channel, opened, running
from .server import TOKEN, Fault, serving

HALF = TOKEN.partition(":")[2]


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """All that any library says."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


def shown(error: BaseException | None) -> str:
    """All that a traceback, a debugger or a log could show of an error, with what it was raised from."""
    text = ""
    while error is not None:
        text += "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
        text += repr(getattr(error, "request", "") and vars(error.request))  # type: ignore[attr-defined]  # looked for one line above
        error = error.__cause__ or error.__context__
    return text


async def test_logs_never_have_it(tmp_path: Path, everything: pytest.LogCaptureFixture) -> None:
    """Of a channel that hears, fetches, draws, sends files, and meets every fault; at the level DEBUG."""
    async with running(tmp_path) as (channel, inbox, telegram):
        telegram.store(b"\x89PNG", "f1")
        telegram.fail("getUpdates", 502, f"bad gateway of bot{TOKEN}")
        telegram.say("look", photo=[{"file_id": "f1", "file_size": 4}])
        await inbox.next()
        telegram.fail("sendMessage", 400, f"Bad Request: bot{TOKEN} is odd")
        delivery = await channel.send(answer("hello"))
        telegram.fail("sendMessage")
        lost = await channel.send(answer("hello"))
        await channel.send(answer("hello", Image("image/png", b"\x89PNG"), Data({"buttons": [[{"text": "x"}]]})))
        told = [*await channel.check(), delivery, lost]
    assert "HTTP Request: POST" in everything.text
    for text in (everything.text, repr(told), repr(channel.options), repr(channel.__dict__)):
        assert HALF not in text


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("getMe", 401, {"ok": False, "description": f"who is {TOKEN}?"}), Refused),
        (Fault("getMe", 500, {"ok": False, "description": f"who is {TOKEN}?"}), Unsure),
        (Fault("getMe"), Unsure),
        (Fault("getMe", half=True), Unsure),
        (Fault("getMe", raw=TOKEN.encode()), Unsure),
    ],
)
async def test_errors_never_have_it(fault: Fault, kind: type[ApiError]) -> None:
    """Neither their words nor what they were raised from, which the HTTP library fills with addresses."""
    with serving() as telegram:
        api = Api(telegram.url, Secret(TOKEN))
        telegram.faults.append(fault)
        with pytest.raises(kind) as caught:
            await api.call("getMe")
        await api.close()
    assert HALF not in shown(caught.value)
    assert HALF not in repr(api)


async def test_errors_of_a_server_that_is_gone_never_have_it() -> None:
    """No connection; also one that is too slow."""
    with serving() as telegram:
        pass
    api = Api(telegram.url, Secret(TOKEN))
    with pytest.raises(Unreached) as caught:
        await api.call("getMe")
    await api.close()
    assert HALF not in shown(caught.value)
    with serving() as telegram:
        api = Api(telegram.url, Secret(TOKEN), call_seconds=0.05)
        telegram.flowing.clear()
        with pytest.raises(Unsure, match="did not answer within") as slow:
            await api.call("getMe")
        await api.close()
    assert HALF not in shown(slow.value)


async def test_errors_of_the_library_itself_never_have_it() -> None:
    """The request that they carry has an address without it."""
    with serving() as telegram:
        api = Api(telegram.url, Secret(TOKEN))
        telegram.fail("getMe")
        with pytest.raises(httpx2.HTTPError) as caught:
            await api._client.post(f"{telegram.url}/bot-token/getMe")  # noqa: SLF001  # below our own errors
        await api.close()
    assert HALF not in shown(caught.value)
    assert str(caught.value.request.url).endswith("/bot-token/getMe")


@pytest.mark.parametrize("code", [401, 404])
async def test_token_that_is_not_known_ends_the_run_without_it(tmp_path: Path, code: int) -> None:
    """With what to do; doctor says the same."""
    with serving() as telegram:
        channel = make_channel(telegram, tmp_path)
        words: dict[str, Any] = {"description": f"Unauthorized {TOKEN}"}
        async with opened(channel):
            telegram.fail("getMe", code, **words)
            with pytest.raises(FairleadError, match="does not know the token") as caught:
                await channel.run(FakeInbox())
            telegram.fail("getMe", code, **words)
            (finding,) = await channel.check()
    assert "@BotFather" in caught.value.next_step
    assert ("token", False, True) == (finding.subject, finding.ok, "@BotFather" in finding.next_step)
    assert HALF not in shown(caught.value) + repr(finding)


async def test_webhooks_of_others_are_named_by_their_host_alone(tmp_path: Path) -> None:
    """Their paths are secrets of the same kind."""
    with serving() as telegram:
        telegram.webhook = {"url": "https://other.example/secret-path", "secret_token": ""}
        channel = make_channel(telegram, tmp_path)
        async with opened(channel):
            with pytest.raises(FairleadError, match=r"webhook at other\.example") as caught:
                with trio.fail_after(5):
                    await channel.run(FakeInbox())
            findings = await channel.check()
    assert [True, False] == [finding.ok for finding in findings]
    assert "deleteWebhook" in caught.value.next_step
    assert "secret-path" not in str(caught.value) + repr(findings)
    assert HALF not in str(caught.value) + repr(findings)
