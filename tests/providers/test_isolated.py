"""The providers in processes of their own: the key is put in its place on the way out, and they never hold it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import fairlead
from fairlead import Secret
from fairlead.config import Config, PluginConfig

from .fake_servers import Fails, FakeServer, Says, Script, anthropic_server, openai_server

KEY = "sk-a-value-that-stays-in-the-host"
Serve = Callable[[Script], AbstractContextManager[FakeServer]]


@pytest.mark.parametrize(("name", "serve"), [("openai", openai_server), ("anthropic", anthropic_server)])
async def test_provider_answers_from_a_process_of_its_own(name: str, serve: Serve, tmp_path: Path) -> None:
    """With streaming, through the way out that its table grants; nothing of that is said in the plugin."""
    with serve([Says("Hello from afar.")]) as server:
        pieces: list[str] = []

        async def emit(delta: Any) -> None:
            pieces.append(delta.text)

        options = {"base_url": str(server), "api_key": Secret(KEY, "env MODEL_KEY")}
        host = str(server).removeprefix("http://").partition("/")[0]
        table = PluginConfig("providers", name, isolation="process", options=options, hosts=(host,))
        config = Config(data_dir=tmp_path, plugins=(table,))
        async with fairlead.open(config) as app:
            assert [] == [report.error for report in app.reports if report.error is not None]
            reply = await app.ask("hi", session="s", emit=emit)
    assert "Hello from afar." == reply.text == "".join(pieces)
    sent = server.headers[0]
    assert KEY in (sent.get("authorization", "") + sent.get("x-api-key", ""))


@pytest.mark.parametrize(("name", "serve"), [("openai", openai_server), ("anthropic", anthropic_server)])
async def test_isolated_provider_uses_its_next_key(name: str, serve: Serve, tmp_path: Path) -> None:
    """The core knows the names from the plugin's process, and the values never go there."""
    with serve([Fails(429, {"error": {"message": "slow down"}}), Says("Hello.")]) as server:
        keys = {"work": Secret(f"{KEY}-work", "env A"), "home": Secret(f"{KEY}-home", "env B")}
        host = str(server).removeprefix("http://").partition("/")[0]
        options = {"base_url": str(server), "api_keys": keys}
        table = PluginConfig("providers", name, isolation="process", options=options, hosts=(host,))
        async with fairlead.open(Config(data_dir=tmp_path, plugins=(table,))) as app:
            assert "Hello." == (await app.ask("hi", model=f"{name}/fake-large")).text
            assert [("work", "rate_limit")] == [(event.credential, event.cause) for event in app.health]
    used = [sent.get("x-api-key") or sent["authorization"] for sent in server.headers]
    assert [f"{KEY}-work", f"{KEY}-home"] == [key.removeprefix("Bearer ") for key in used]


async def test_provider_without_a_grant_reaches_nothing(tmp_path: Path) -> None:
    """Not even the server that its own options name."""
    with openai_server([Says("never")]) as server:
        table = PluginConfig("providers", "openai", isolation="process", options={"base_url": str(server)})
        async with fairlead.open(Config(data_dir=tmp_path, plugins=(table,))) as app:
            with pytest.raises(fairlead.errors.TurnFailed, match="No model could answer"):
                await app.ask("hi", session="s", model="openai/fake-large")
        assert [] == server.requests
