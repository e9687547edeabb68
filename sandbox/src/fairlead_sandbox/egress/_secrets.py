"""Handles in place of secrets: the guest has ``flsec-...``, and the value is put in its place on the way out only."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Literal
from urllib.parse import quote, quote_plus

from attrs import field, frozen

from fairlead.errors import ConfigError
from fairlead_sandbox.egress._decisions import Refusal
from fairlead_sandbox.egress._grants import Grants, Target
from fairlead_sandbox.egress._veil import MIN_CHARS, Veil

__all__ = ["Place", "SecretGrant", "Secrets", "new_handle"]

PREFIX = b"flsec-"
HANDLE = re.compile(rb"flsec-[0-9a-f]{32}")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_BASIC = 8_192
MAX_HANDLES = 32
"""In one place. More would only make a small request a large one here: a value may be longer than its handle."""
MIN_BASE64 = 8
"""Fewer characters of base64 are found by chance."""

Place = Literal["header", "path", "query", "json", "form", "websocket"]


@frozen
class SecretGrant:
    """The value behind one handle, and the hosts that may get it."""

    value: str = field(repr=False)
    hosts: tuple[str, ...] = ()
    """In the grammar of grants. For none of them: the handle is refused everywhere."""
    places: tuple[Place, ...] = ("header", "path", "query", "json", "form", "websocket")
    """Where it may stand. Fewer are safer: in a text, a guest could have the host show it to others."""


def new_handle() -> str:
    """A handle that nobody can guess. It is no secret itself: it is worth nothing outside of its own proxy."""
    return f"flsec-{secrets.token_hex(16)}"


# How the value is written so that it stays one value where it stands, whatever characters it has.
WRITERS: dict[Place, Callable[[str], str]] = {
    "websocket": lambda value: json.dumps(value)[1:-1],
    "header": str,
    "path": lambda value: quote(value, safe="-._~:@!$'()*,;="),
    "query": lambda value: quote(value, safe="-._~:@!$'()*,"),
    "json": lambda value: json.dumps(value)[1:-1],
    "form": quote_plus,
}


class Secrets:
    """What one guest holds handles for."""

    def __init__(self, grants: Mapping[str, SecretGrant]) -> None:
        self._grants: dict[bytes, SecretGrant] = {}
        self._hosts: dict[bytes, Grants] = {}
        for handle, grant in grants.items():
            if not HANDLE.fullmatch(handle.encode()):
                raise ValueError("a handle is flsec- and 32 hexadecimal digits, as new_handle() makes it")
            if len(grant.value) < MIN_CHARS:
                raise ConfigError(
                    f"a secret of {len(grant.value)} characters could not be told from other words of an answer",
                    path="secrets",
                    next_step=f"use one of {MIN_CHARS} characters or more",
                )
            self._grants[handle.encode()] = grant
            self._hosts[handle.encode()] = Grants(grant.hosts)
        self._veil = Veil(
            {form: handle for handle, grant in self._grants.items() for form in sorted(forms(grant.value))}
        )

    def __bool__(self) -> bool:
        return bool(self._grants)

    def reach(self, target: Target) -> bool:
        """Whether any secret may be sent to that host."""
        return any(hosts.covers(target) for hosts in self._hosts.values())

    def place(self, data: bytes, where: Place, target: Target, *, tls: bool) -> bytes:
        """The same with the values of its handles. `Refusal`: one of them must not go there, or there are too many."""
        if data.count(PREFIX) > MAX_HANDLES and len(HANDLE.findall(data)) > MAX_HANDLES:
            raise Refusal(403, "secret-flood", f"at most {MAX_HANDLES} handles may stand in one place of a request")
        return HANDLE.sub(lambda match: self._value(match[0], where, target, tls=tls).encode(), data)

    def place_in_header(self, value: bytes, target: Target, *, tls: bool) -> bytes:
        """As `place`; also inside of what ``Basic`` authentication (RFC 7617) has encoded."""
        scheme, space, coded = value.partition(b" ")
        if space and scheme.lower() == b"basic" and len(coded) <= MAX_BASIC:
            try:
                plain = base64.b64decode(coded.strip(), validate=True)
            except binascii.Error:
                plain = b""
            if HANDLE.search(plain):
                return scheme + b" " + base64.b64encode(self.place(plain, "header", target, tls=tls))
        return self.place(value, "header", target, tls=tls)

    def _value(self, handle: bytes, where: Place, target: Target, *, tls: bool) -> str:
        grant = self._grants.get(handle)
        if grant is None:
            raise Refusal(403, "secret-unknown", "a handle in the request belongs to no secret of this plugin")
        if not self._hosts[handle].covers(target):
            raise Refusal(
                403,
                "secret-elsewhere",
                f"a secret in the request is not granted for {target}",
                next_step="secrets go only to the hosts that the configuration names for them",
            )
        if where not in grant.places:
            raise Refusal(403, "secret-place", f"a secret in the request must not stand there ({where})")
        if not tls and not target.literal:
            raise Refusal(403, "secret-plain", f"a secret is not sent to {target} without TLS")
        if where == "header" and CONTROL.search(grant.value):
            raise Refusal(403, "secret-malformed", "a secret has a line break or another control character")
        return WRITERS[where](grant.value)

    def veil(self) -> Veil:
        """A filter that puts the handles back in place of the values, for one answer."""
        return self._veil.fresh()


def forms(value: str) -> set[bytes]:
    """How a host may write a value that it got, where it only repeats it: as it is, escaped, or in base64."""
    found = {value, *(write(value) for write in WRITERS.values()), quote(value, safe=""), json.dumps(value)[1:-1]}
    found |= {re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), form) for form in found}
    found |= {json.dumps(value, ensure_ascii=False)[1:-1], value.replace("/", r"\/")}
    found |= {value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
    coded = {form.encode() for form in found}
    return {form for form in coded | set(_in_base64(value.encode())) if len(form) >= MIN_CHARS}


def _in_base64(value: bytes) -> Iterator[bytes]:
    """The characters that are the same whatever stands before and after the value, for its three places in a group."""
    for before in range(3):
        block = base64.b64encode(bytes(before) + value)
        inner = block[(0, 2, 3)[before] : len(block) - (0, 3, 2)[(before + len(value)) % 3]]
        if len(inner) >= MIN_BASE64:
            yield inner
            yield inner.replace(b"+", b"-").replace(b"/", b"_")
