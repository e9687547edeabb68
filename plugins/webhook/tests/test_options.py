"""What the table may say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

import fairlead_webhook
from fairlead import Secret, Settings
from fairlead.errors import PluginLoadError
from fairlead.wire import build_validator, check
from fairlead_webhook._options import Options, foreign_url_fault, is_public, read_options, url_fault
from fairlead_webhook.plugin import fairlead_channels

from .far import SECRET, opened

MANIFEST = json.loads((Path(fairlead_webhook.__file__).parent / "fairlead-plugin.json").read_text("utf-8"))


def options(**given: Any) -> Options:
    return read_options(Settings("hook", {"secret": Secret(SECRET), **given}))


@pytest.mark.parametrize("given", [{}, {"secret": ""}, {"previous_secret": Secret(SECRET)}])
def test_does_not_start_without_a_secret(given: dict[str, Any]) -> None:
    """The error names the key, why, and the line to write; without a secret anybody could speak."""
    with pytest.raises(PluginLoadError, match=r"channels\.hook\.secret: .* does not start") as caught:
        fairlead_channels(Settings("hook", given))
    assert "openssl rand -hex 32" in caught.value.next_step
    assert "channels/hook" == caught.value.plugin


@pytest.mark.parametrize("key", ["secret", "previous_secret"])
def test_short_secret_is_refused_without_being_shown(key: str) -> None:
    """Fifteen characters can be guessed offline from one captured request."""
    with pytest.raises(PluginLoadError, match=rf"{key}: the secret from env X has 8 characters") as caught:
        options(**{key: Secret("swordfis", "env X")})
    assert "swordfis" not in str(caught.value)


def test_manifest_is_valid_and_names_every_option() -> None:
    """Schema, class and defaults say the same."""
    check("plugin-manifest", MANIFEST)
    properties = MANIFEST["settings"]["properties"]
    build_validator(MANIFEST["settings"])
    secrets = set(MANIFEST["secrets"])
    ours = {one.name: one.default for one in attrs.fields(Options) if one.name not in {"name", "secrets"}}
    assert set(ours) | secrets == set(properties)
    plain = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in ours.items()}
    assert {name: properties[name].get("default", "") for name in plain} == plain
    assert [] == [name for name, schema in properties.items() if not schema.get("description")]


def test_listens_on_loopback_unless_told_otherwise() -> None:
    """Nothing is open to the network by default."""
    assert "127.0.0.1" == options().host


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "example.org/x", "https://", "https://ann:pw@example.org/", "http://[::1"]
)
def test_url_of_another_form_is_refused(url: str) -> None:
    """It is found at the start, not with the first answer."""
    assert url_fault(url)
    with pytest.raises(PluginLoadError, match="reply_url"):
        options(reply_url=url)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://Hooks.Example.org/in", True),
        ("https://hooks.example.org:443/in", True),
        ("https://hooks.example.org:8443/in", True),
        ("https://hooks.example.org:22/in", False),
        ("http://hooks.example.org/in", False),
        ("https://hooks.example.org.evil.net/in", False),
        ("https://evil.net/hooks.example.org", False),
        ("https://hooks.example.org@evil.net/in", False),
        ("https://evil.net#hooks.example.org", False),
    ],
)
def test_url_of_a_message_is_held_against_the_list(url: str, allowed: bool) -> None:  # noqa: FBT001  # a column of the table
    """Host and port must both be named, and nothing that only looks like them."""
    found = foreign_url_fault(url, options(reply_hosts=["hooks.example.org", "hooks.example.org:8443"]))
    assert allowed == (found == "")


def test_no_host_is_allowed_by_default() -> None:
    """A message cannot send answers anywhere unless the operator has said where."""
    assert "not among" in foreign_url_fault("https://example.org/", options())


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"])
def test_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104  # not bound: recognised
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "2001:0:0:0::",
    ],
)
def test_address_of_a_private_network_is_not_public(address: str) -> None:
    """Also where an IPv6 address wraps it."""
    assert not is_public(address)


async def test_check_tells_where_it_would_listen_and_who_takes_answers() -> None:
    """`fairlead doctor` without a receiver, and open to the network."""
    channel = fairlead_channels(Settings("hook", {"secret": SECRET, "port": 0, "host": "0.0.0.0"}))[0]  # noqa: S104  # not opened
    async with opened(channel):
        findings = await channel.check()
    assert "put a server with TLS before it" in findings[1].detail
    assert [("address", True), ("transport", True), ("reply_url", True)] == [(one.subject, one.ok) for one in findings]


async def test_check_finds_a_receiver_that_is_away() -> None:
    """Port 1 takes no connections; the finding names the command that shows it."""
    channel = fairlead_channels(Settings("hook", {"secret": SECRET, "port": 0, "reply_url": "http://127.0.0.1:1/x"}))[0]
    async with opened(channel):
        found = (await channel.check())[-1]
    assert not found.ok
    assert "curl -v http://127.0.0.1:1/x" == found.next_step


def test_entry_point_is_light() -> None:
    """The HTTP libraries are imported in open(), not when the app starts without the channel being used."""
    code = (
        "import sys, fairlead_webhook.plugin; print(*({'asyncio', 'uvicorn', 'starlette', 'httpx2'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "" == done.stdout.strip()
