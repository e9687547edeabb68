"""What the table may say, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead import Secret, Settings
from fairlead.errors import PluginLoadError
from fairlead_irc._options import Options, read_options


def read(**options: Any) -> Options:
    return read_options(Settings("irc", {"host": "IRC.example", "nick": "bot", **options}))


def test_defaults_are_tls_and_the_hosts_name() -> None:
    """And plain text has another port."""
    options = read()
    assert ("irc.example", 6697, True, "") == (options.network, options.port, options.tls, options.sasl)
    assert 6667 == read(tls=False).port
    assert ("bot", "bot_", "bot__", "bot-ai") == tuple(options.nicks())
    assert ("bot", "other") == tuple(read(alternates=["other"]).nicks())


def test_secrets_are_never_shown() -> None:
    """Also where they stand in the file as plain text."""
    options = read(account="robot", password="hunter2", channels=["#a"], channel_keys={"#a": Secret("sesame")})
    assert "PLAIN" == options.sasl
    assert "hunter2" not in repr(options)
    assert "sesame" not in repr(options)


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"host": ""}, "host"),
        ({"nick": ""}, "nick"),
        ({"nick": "1bot"}, "nick"),
        ({"nick": "bot bot"}, "nick"),
        ({"alternates": ["a b"]}, "nick"),
        ({"channels": ["room"]}, "channels"),
        ({"channels": ["#a,#b"]}, "channels"),
        ({"channels": ["#a key"]}, "channels"),
        ({"channel_keys": {"#a": "key"}}, "channel_keys"),
        ({"password": "secret"}, "account"),
        ({"client_cert": "/nowhere.pem"}, "client_cert"),
        ({"client_cert": "/dev/null", "tls": False}, "client_cert"),
        ({"ca_file": "/nowhere.pem"}, "ca_file"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(wrong: dict[str, Any], key: str) -> None:
    """And with what to do."""
    with pytest.raises(PluginLoadError, match=rf"channels\.irc\.{key}: ") as caught:
        read(**wrong)
    assert caught.value.next_step
