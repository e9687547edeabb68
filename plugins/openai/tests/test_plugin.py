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
from fairlead_openai._errors import duration
from fairlead_openai._http import EventLines, number
from fairlead_openai.plugin import OpenAIProvider, fairlead_providers

MANIFEST: dict[str, Any] = json.loads(files("fairlead_openai").joinpath("fairlead-plugin.json").read_text("utf-8"))


def valid(options: dict[str, Any]) -> bool:
    return bool(build_validator(MANIFEST["settings"]).is_valid(options))


def test_entry_point_gives_a_provider_of_the_name_in_the_configuration() -> None:
    """Found by metadata; two tables make two providers."""
    (point,) = entry_points(group="fairlead.providers", name="openai")
    assert fairlead_providers is point.load().fairlead_providers
    (worker,) = fairlead_providers(Settings("local", {"base_url": "http://127.0.0.1:1/v1"}))
    assert isinstance(worker, OpenAIProvider)
    assert "local" == worker.name


def test_settings_take_what_the_readme_shows() -> None:
    """All options at once, and none."""
    everything = {
        "api_key": "k",
        "api_keys": {"work": "k"},
        "base_url": "http://127.0.0.1:11434/v1",
        "timeout": {"connect": 1, "read": 2.5},
        "models": [{"name": "m", "window": 8192, "input_price": 0, "images": True}],
        "headers": {"X-Team": "blue"},
        "stream_usage": False,
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
    program = "import sys, fairlead_openai.plugin; print('httpx2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()


async def test_provider_that_is_not_open_says_so() -> None:
    """A fault of the host."""
    provider = OpenAIProvider(Settings("openai", {"api_key": "k"}))
    with pytest.raises(RuntimeError, match="before open"):
        await provider.check()


def test_events_are_cut_at_any_byte() -> None:
    """LF and CRLF, comments, several lines of data, an end without an empty line."""
    stream = b": hi\r\ndata: one\r\n\r\nevent: x\ndata: two\ndata: three\n\ndata:four"
    for size in (1, 2, 7, len(stream)):
        lines = EventLines()
        found = [event for at in range(0, len(stream), size) for event in lines.feed(stream[at : at + size])]
        assert [b"one", b"two\nthree", b"four"] == [*found, *lines.end()]


@pytest.mark.parametrize(
    ("text", "seconds"), [("6m0s", 360.0), ("1.5s", 1.5), ("20ms", 0.02), ("1d1h", 90_000.0), ("12", 12.0), ("", None)]
)
def test_durations(text: str, seconds: float | None) -> None:
    """As the headers of the rate limits write them."""
    assert seconds == duration(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e9", "", None, "٣"])
def test_numbers_are_plain(text: str | None) -> None:
    """A server cannot make us wait for ever."""
    assert number(text) is None
