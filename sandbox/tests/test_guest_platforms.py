"""Libraries of platforms that know nothing but asyncio, unmodified, in a plugin's process."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import fairlead
from fairlead.testing import RecordingObserver, ScriptedProvider

from .boundary_guests import launching
from .boundary_telegram import FakeTelegram

TOKEN = "123456:the-handle-of-a-token"


@pytest.mark.parametrize("library", ["ptb", "aiogram"])
async def test_library_of_a_platform_runs_as_it_is(library: str, tmp_path: Path) -> None:
    """It receives, answers, and says goodbye in time when it is cancelled; its process stays."""
    telegram = FakeTelegram()
    async with launching() as launch, trio.open_nursery() as nursery:
        await nursery.start(telegram.run)
        secret = {"$secret": TOKEN, "source": "env TELEGRAM_TOKEN"}
        options = {"library": library, "url": telegram.url, "token": secret}
        launcher = launch("channels", "boundary_telegram_plugins", runtime="asyncio", options=options, name="telegram")
        (channel,) = (await launcher.plugin.workers())["channels"]
        provider = ScriptedProvider([lambda request: f"you said {request.history[-1].text}"], repeat=True)
        with trio.fail_after(60):  # the libraries are large, and the machine may be busy
            async with (
                fairlead.open(channels=[channel], providers=[provider], observers=[RecordingObserver()]) as app,
                trio.open_nursery() as serving,
            ):
                serving.start_soon(app.serve)
                telegram.say("hello")
                assert "you said hello" == await telegram.next()
                telegram.say("again")
                assert "you said again" == await telegram.next()
                began = trio.current_time()
                serving.cancel_scope.cancel()
            assert trio.current_time() - began < 2
        assert launcher.peer is not None
        assert launcher.peer.ended is None
        assert {TOKEN} == telegram.tokens
        nursery.cancel_scope.cancel()
