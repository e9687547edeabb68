"""Which error a refusal of the server is (https://platform.claude.com/docs/en/api/errors)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from fairlead.errors import (
    AuthenticationFailed,
    BadRequest,
    BillingFailed,
    ConnectionFailed,
    ContentRefused,
    ContextOverflow,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    UnknownModel,
)
from fairlead_anthropic._encoded import clean
from fairlead_anthropic._http import MAX_TEXT, Asked, retry_after

__all__ = ["refusal", "refusal_inside"]

STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that an error has when it comes inside a stream."""
NO_SERVER = ("unreachable", "broken")
"""What the way out of an isolated plugin says where the server gave no answer: it is no word of the server's."""
BILLING = {
    "contract_spend_limit_reached",
    "enforced_spend_limit_reached",
    "linked_organization_billing_unavailable",
    "linked_organization_spend_limit_reached",
}
NEXT_STEPS: dict[type[ProviderError], str] = {
    BillingFailed: "add credit to the account, or choose another credential",
    ContextOverflow: "send less history, or choose a model with a larger window",
    ContentRefused: "rephrase, or choose another provider",
    UnknownModel: "run `fairlead doctor`; check the model's name, and base_url of {table}",
    RateLimited: "wait, or add a credential to {table}",
    AuthenticationFailed: "check api_key of {table}",
    Overloaded: "wait, or choose another model",
    BadRequest: "check the options of {table} and of the model",
}
# The API says these in words alone, under the type of any malformed request.
BILLING_WORDS = re.compile(r"credit balance is too low|specified api usage limits|spend limit", re.IGNORECASE)
OVERFLOW_WORDS = re.compile(
    r"prompt is too long|exceed context limit|input is too long|maximum context length|context (window|size)",
    re.IGNORECASE,
)
REFUSED_WORDS = re.compile(r"content filtering policy|usage policy", re.IGNORECASE)
LIMIT = re.compile(r"> (\d+)|context length is (\d+)|context size \((\d+)")


def refusal(asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error for a reply with a status of 300 or more."""
    if headers.get("fairlead-egress") in NO_SERVER:
        said = body.decode("utf-8", "replace").strip()[:MAX_TEXT]
        step = f"check that the server runs and that base_url is right: {asked.host}"
        return ConnectionFailed(asked.words(f"no connection: {clean(said)}"), next_step=step, **asked.fields())
    return _classify(asked, status, _error_object(body), headers)


def refusal_inside(asked: Asked, error: Any) -> ProviderError:
    """The error that came inside a reply of status 200, before anything was emitted."""
    error = error if isinstance(error, dict) else {"message": str(error)}
    return _classify(asked, STATUS.get(str(error.get("type")), 500), error, {})


def _classify(asked: Asked, status: int, error: Mapping[str, Any], headers: Mapping[str, str]) -> ProviderError:
    said = asked.clean(clean(error.get("message")))
    kind = _kind(status, error, said)
    fields = asked.fields(status)
    if kind is RateLimited:
        fields["reset_after"] = _reset_after(headers)
    elif kind is Overloaded:
        fields["reset_after"] = retry_after(headers)
    elif kind is ContextOverflow:
        found = LIMIT.search(said)
        fields["limit"] = int(next(group for group in found.groups() if group)) if found else None
    step = NEXT_STEPS.get(kind, "").format(table=f"[providers.{asked.provider}]")
    problem = asked.words(f"status {status}: {said[:MAX_TEXT] or 'no reason given'}")
    return kind(problem, next_step=step, **fields)


def _kind(status: int, error: Mapping[str, Any], said: str) -> type[ProviderError]:
    """The first rule that fits; the more special ones stand first, since much shares the status 400."""
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    malformed = status == HTTPStatus.BAD_REQUEST
    large = status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    spent = code in BILLING or (malformed and BILLING_WORDS.search(said))
    rules: tuple[tuple[type[ProviderError], object], ...] = (
        (BillingFailed, status == HTTPStatus.PAYMENT_REQUIRED or spent),
        (ContextOverflow, large or (malformed and OVERFLOW_WORDS.search(said))),
        (ContentRefused, malformed and REFUSED_WORDS.search(said)),
        (UnknownModel, status == HTTPStatus.NOT_FOUND),
        (RateLimited, status == HTTPStatus.TOO_MANY_REQUESTS),
        (AuthenticationFailed, status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)),
        (ProviderTimeout, status == HTTPStatus.REQUEST_TIMEOUT),
        (Overloaded, status >= HTTPStatus.INTERNAL_SERVER_ERROR),
    )
    return next((kind for kind, fits in rules if fits), BadRequest)


def _error_object(body: bytes) -> dict[str, Any]:
    """What stands under `error`. A page of a proxy is quoted as it is."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {"message": re.sub(r"\s+", " ", body.decode("utf-8", "replace"))}
    inner = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(inner, dict):
        return inner if "message" in inner else {**inner, "message": str(inner)}
    return {"message": str(inner)}


def _reset_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the window that is used up opens again (``anthropic-ratelimit-*-reset``, RFC 3339)."""
    if (seconds := retry_after(headers)) is not None:
        return seconds
    resets, exhausted = [], []
    for window in ("requests", "tokens", "input-tokens", "output-tokens"):
        seconds = until(headers.get(f"anthropic-ratelimit-{window}-reset", ""))
        if seconds is not None:
            resets.append(seconds)
            if headers.get(f"anthropic-ratelimit-{window}-remaining", "").strip() == "0":
                exhausted.append(seconds)
    return max(exhausted) if exhausted else min(resets, default=None)


def until(moment: str) -> float | None:
    """Seconds from now to a moment as RFC 3339 writes it; None for anything else."""
    try:
        return max(0.0, datetime.fromisoformat(moment).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
