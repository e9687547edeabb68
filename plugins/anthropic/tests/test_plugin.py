"""The plugin as the core finds it: manifest, settings, entry point, light import."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.resources import files
from typing import Any

import pytest

from fairlead import Settings
from fairlead.wire import build_validator
from fairlead_anthropic._errors import until
from fairlead_anthropic.plugin import AnthropicProvider, fairlead_providers

MANIFEST: dict[str, Any] = json.loads(files("fairlead_anthropic").joinpath("fairlead-plugin.json").read_text("utf-8"))


def valid(options: dict[str, Any]) -> bool:
    return bool(build_validator(MANIFEST["settings"]).is_valid(options))


def test_entry_point_gives_a_provider_of_the_name_in_the_configuration() -> None:
    """Found by metadata; two tables make two providers."""
    (point,) = entry_points(group="fairlead.providers", name="anthropic")
    assert fairlead_providers is point.load().fairlead_providers
    (worker,) = fairlead_providers(Settings("local", {"base_url": "http://127.0.0.1:1/v1"}))
    assert isinstance(worker, AnthropicProvider)
    assert "local" == worker.name


def test_settings_take_what_the_readme_shows() -> None:
    """All options at once, and none."""
    everything = {
        "api_key": "k",
        "api_keys": {"work": "k"},
        "base_url": "http://127.0.0.1:11434",
        "timeout": {"connect": 1, "read": 2.5},
        "models": [{"name": "m", "window": 8192, "input_price": 0, "images": True}],
        "headers": {"X-Team": "blue"},
        "structured": "tool",
        "prompt_cache": False,
    }
    assert set(everything) == set(MANIFEST["settings"]["properties"])
    assert valid(everything)
    assert valid({})


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "127.0.0.1"},
        {"base_url": "http://me:pw@host/v1"},
        {"timeout": {"read": 0}},
        {"models": [{}]},
        {"x": 1},
    ],
)
def test_settings_refuse(options: dict[str, Any]) -> None:
    """An address without a scheme or with a password, no time at all, a model without a name, an unknown option."""
    assert not valid(options)


def test_secrets_are_named() -> None:
    """Both ways to give a key."""
    assert ["api_key", "api_keys"] == MANIFEST["secrets"]


def test_import_is_light() -> None:
    """Listing and loading plugins must not pay for an HTTP client."""
    program = "import sys, fairlead_anthropic.plugin; print('httpx2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()


async def test_provider_that_is_not_open_says_so() -> None:
    """A fault of the host."""
    provider = AnthropicProvider(Settings("anthropic", {"api_key": "k"}))
    with pytest.raises(RuntimeError, match="before open"):
        await provider.check()


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01T00:00:00Z"])
def test_moment_that_is_none(text: str) -> None:
    """A header that cannot be read says nothing."""
    assert until(text) is None


def test_moment_in_the_past_is_now() -> None:
    """The window is open again."""
    assert 0.0 == until("2020-01-01T00:00:00Z")
