"""Who may speak: signatures, their age, and two secrets at once."""

from __future__ import annotations

import subprocess

import pytest

from fairlead_webhook._signing import SIGNATURE, TIMESTAMP, header_fault, sign, signature_fault

BODY = b'{"text": "hello"}'
NOW = 1_800_000_000.0
STAMP = "1800000000"
OLD, NEW = "the secret of last year", "the secret of this year"


def headers(secret: str = NEW, timestamp: str = STAMP, body: bytes = BODY) -> dict[str, str]:
    return {TIMESTAMP: timestamp, SIGNATURE: sign(secret, timestamp, body)}


def test_signature_is_what_openssl_computes() -> None:
    """So the README's shell lines, and any language, can sign."""
    command = ["openssl", "dgst", "-sha256", "-hmac", NEW, "-r"]
    done = subprocess.run(command, input=STAMP.encode() + b"." + BODY, capture_output=True, check=True)
    assert f"v1={done.stdout.split()[0].decode()}" == sign(NEW, STAMP, BODY)


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_either_secret_is_taken(secret: str) -> None:
    """While one secret replaces the other, both are valid."""
    assert "" == signature_fault(headers(secret), BODY, [NEW, OLD], NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        headers("a secret of somebody else"),
        headers(body=b'{"text": "hellO"}'),
        {**headers(), TIMESTAMP: "1800000001"},
        {**headers(), SIGNATURE: headers()[SIGNATURE].removeprefix("v1=")},
        {**headers(), SIGNATURE: headers()[SIGNATURE].upper()},
        {**headers(), SIGNATURE: "v1=\u00e9\udc00"},
    ],
)
def test_other_signature_is_refused(wrong: dict[str, str]) -> None:
    """Another secret, body or time, another form: it does not match."""
    assert "does not match" in signature_fault(wrong, BODY, [NEW, OLD], NOW)


@pytest.mark.parametrize("missing", [TIMESTAMP, SIGNATURE])
def test_missing_header_is_refused(missing: str) -> None:
    """Both headers are needed, and neither is empty."""
    assert "are both needed" in header_fault({**headers(), missing: ""}, NOW)


@pytest.mark.parametrize(("age", "taken"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_signature_is_valid_for_five_minutes(age: int, taken: bool) -> None:  # noqa: FBT001  # a column of the table
    """A captured request is of no use later, and clocks may differ a little in both directions."""
    found = signature_fault(headers(timestamp=str(int(NOW) - age)), BODY, [NEW], NOW)
    assert taken == (found == "")


@pytest.mark.parametrize("odd", ["1_800_000_000", " 1800000000", "+1800000000", "1.8e9", "\u0661", "9" * 5000])
def test_odd_time_is_refused(odd: str) -> None:
    """Python reads more as a number than a timestamp is."""
    assert "not a number" in header_fault(headers(timestamp="1") | {TIMESTAMP: odd}, NOW)
