"""A wrong table is refused with the key, what was found, and what to write; the token is never shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import fields

from fairlead import Secret, Settings
from fairlead.errors import PluginLoadError
from fairlead_telegram import plugin
from fairlead_telegram._options import Options, read_options

TOKEN = "123456789:AAE-a-token-of-the-tests_0123456789"
MANIFEST = Path(plugin.__file__).with_name("fairlead-plugin.json")


def read(**options: Any) -> Options:
    return read_options(Settings("tg", options, Path("data")))


def test_token_is_all_that_is_needed() -> None:
    """The rest has its default, which is the manifest's."""
    options = read(token=Secret(f" {TOKEN}\n", "env T"))
    assert (TOKEN, Path("data/tg")) == (options.token.reveal(), options.folder)
    described = json.loads(MANIFEST.read_text("utf-8"))["settings"]["properties"]
    for each in fields(Options):
        if each.name not in ("name", "token", "folder", "webhook_url"):
            assert described[each.name]["default"] == each.default, each.name
    assert all("description" in value for value in described.values())


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({}, "tg.token"),
        ({"token": ""}, "tg.token"),
        ({"token": "AAE-a-token-of-the-tests_0123456789"}, "tg.token"),
        ({"token": TOKEN + "/../x"}, "tg.token"),
        ({"token": TOKEN, "webhook_url": "http://example.org/x"}, "tg.webhook_url"),
        ({"token": TOKEN, "api_url": "ftp://example.org"}, "tg.api_url"),
        ({"token": TOKEN, "api_url": "https://user:pass@example.org"}, "tg.api_url"),
        ({"token": TOKEN, "api_url": "https://example.org:99999"}, "tg.api_url"),
    ],
)
def test_wrong_option_is_refused(given: dict[str, Any], key: str) -> None:
    """With the next step, and without the token."""
    with pytest.raises(PluginLoadError, match=f"channels.{key}: ") as caught:
        read(**given)
    assert caught.value.next_step
    assert "0123456789" not in str(caught.value)


def test_isolated_plugin_goes_the_hosts_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the token is a handle, and the host makes the connection."""
    monkeypatch.setenv("FAIRLEAD_EGRESS", "http://127.0.0.1:4000")
    options = read(token="flsec-" + "0" * 32)
    assert "http://127.0.0.1:4000/https/api.telegram.org" == options.base
    monkeypatch.setenv("FAIRLEAD_EGRESS", "http://evil.example:4000")
    assert "https://api.telegram.org" == options.base
