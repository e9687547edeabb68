"""What the table of the configuration says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import jsonschema
import pytest

import fairlead_email
from fairlead import Secret
from fairlead.errors import PluginLoadError
from fairlead_email._options import Options, read_options

from .far import settings

MANIFEST = json.loads((Path(fairlead_email.__file__).parent / "fairlead-plugin.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"address": ""}, ("address", "assistant@example.org")),
        ({"password": ""}, ("password", "FAIRLEAD_EMAIL_PASSWORD")),
        ({"imap": ""}, ("imap", "imaps://")),
        ({"smtp": "https://example.org"}, ("smtp", "smtps://HOST")),
        ({"imap": "imaps://"}, ("imap", "imaps://HOST")),
        ({"imap": "imaps://user:secret@example.org"}, ("imap", "imaps://HOST")),
        ({"imap": "imaps://example.org:99999"}, ("imap", "imaps://HOST")),
        ({"imap": "imap://example.org", "plaintext": True}, ("plaintext", "imap://HOST")),
        ({"authentication": "required", "verify_dkim": False}, ("authentication", "authserv_id")),
    ],
)
def test_fault_names_the_key_and_the_way_out(options: dict[str, Any], expected: tuple[str, str]) -> None:
    """Before anything is connected."""
    with pytest.raises(PluginLoadError) as caught:
        read_options(settings(Path("nowhere"), **options))
    key, words = expected
    assert caught.value.problem.startswith(f"channels.mail.{key}: ")
    assert words in caught.value.next_step


def test_servers_have_the_ports_of_their_protocols() -> None:
    """TLS from the start, STARTTLS, or none on this machine."""
    options = read_options(settings(Path("nowhere"), imap="imap://localhost", smtp="smtp://mail.example.org"))
    assert ("localhost", 143, "starttls") == (options.imap.host, options.imap.port, options.imap.tls)
    assert ("mail.example.org", 587, "starttls") == (options.smtp.host, options.smtp.port, options.smtp.tls)
    options = read_options(settings(Path("nowhere")))
    assert [(993, "implicit"), (465, "implicit")] == [(one.port, one.tls) for one in (options.imap, options.smtp)]
    options = read_options(
        settings(Path("nowhere"), imap="imap://[::1]:1143", smtp="smtps://127.0.0.1", plaintext=True)
    )
    assert [("::1", 1143, "none"), ("127.0.0.1", 465, "implicit")] == [
        (one.host, one.port, one.tls) for one in (options.imap, options.smtp)
    ]


def test_password_is_not_shown() -> None:
    """Also where it stands in the configuration in plain text."""
    options = read_options(settings(Path("nowhere"), password="the words themselves"))
    assert "the words" not in repr(options)
    given = Secret("x", "env MAIL")
    assert given is read_options(settings(Path("nowhere"), password=given)).password


def test_manifest_has_the_defaults_of_the_code() -> None:
    """And a description of each key; what must be given has an example."""
    schema = MANIFEST["settings"]
    jsonschema.Draft202012Validator.check_schema(schema)
    defaults: dict[str, Any] = {
        one.name: one.default for one in attrs.fields(Options) if one.default is not attrs.NOTHING
    }
    for key, rule in schema["properties"].items():
        assert rule["description"], key
        if key in schema["required"]:
            assert rule["examples"], key
        elif key in defaults:
            expected = list(defaults[key]) if isinstance(defaults[key], tuple) else defaults[key]
            assert expected == rule["default"], key
    assert set(defaults) - set(schema["properties"]) == set()
