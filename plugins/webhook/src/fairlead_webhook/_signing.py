"""The signature of a request: HMAC-SHA256 over its time and its body, the same in both directions."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

__all__ = ["SIGNATURE", "TIMESTAMP", "TOLERANCE", "header_fault", "sign", "signature_fault"]

TIMESTAMP = "X-Fairlead-Timestamp"
"""Unix seconds, whole."""
SIGNATURE = "X-Fairlead-Signature"
"""``v1=`` and the hexadecimal HMAC-SHA256, with the secret as key, of the timestamp, a full stop and the body."""
TOLERANCE = 300.0
"""Seconds between the sender's clock and ours. Within them a captured request can be sent again, which the message's id
makes harmless."""


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The value of the header `SIGNATURE`."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"


def header_fault(headers: Mapping[str, str], now: float) -> str:
    """Why a request cannot be authentic, from its headers alone; empty where the body decides."""
    timestamp, signature = headers.get(TIMESTAMP, ""), headers.get(SIGNATURE, "")
    if not timestamp or not signature:
        return f"the headers {TIMESTAMP} and {SIGNATURE} are both needed"
    # Not `int`: it takes spaces, signs, underscores and other alphabets' digits.
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _DIGITS):
        return f"{TIMESTAMP} is not a number of Unix seconds"
    if abs(now - int(timestamp)) > TOLERANCE:
        return f"{TIMESTAMP} is more than {TOLERANCE:.0f} s away from this machine's clock"
    return ""


_DIGITS = 12


def signature_fault(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: float) -> str:
    """Why a request is not authentic; empty where it is. Two secrets are valid while one replaces the other."""
    wrong = header_fault(headers, now)
    if wrong:
        return wrong
    found = headers[SIGNATURE].encode("utf-8", "replace")
    # All secrets are compared, each in constant time, so that the time tells nothing.
    matches = [hmac.compare_digest(found, sign(secret, headers[TIMESTAMP], body).encode()) for secret in secrets]
    return "" if any(matches) else f"{SIGNATURE} does not match"
