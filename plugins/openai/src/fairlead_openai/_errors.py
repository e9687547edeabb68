"""Which error a refusal of the server is.

https://platform.openai.com/docs/guides/error-codes, and what vLLM, llama.cpp, Ollama, Groq, Azure and OpenRouter send.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
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
from fairlead_openai._encoded import clean
from fairlead_openai._http import MAX_TEXT, Asked, number, retry_after

__all__ = ["refusal", "refusal_inside"]

BILLING = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "access_terminated"}
OVERFLOW = {"context_length_exceeded", "exceed_context_size_error", "request_too_large"}
REFUSED = {"content_filter", "content_policy_violation", "moderation_blocked", "responsibleaipolicyviolation"}
NO_MODEL = {"model_not_found", "not_found_error", "model_not_available"}
LIMITED = {"rate_limit_exceeded", "rate_limit_error", "tokens", "requests", "too_many_requests"}
BUSY = {
    "server_error",
    "internal_server_error",
    "overloaded",
    "overloaded_error",
    "engine_overloaded",
    "unavailable_error",
}

NO_SERVER = ("unreachable", "broken")
"""What the way out of an isolated plugin says where the server gave no answer: it is no word of the server's."""
HTTP_ERRORS = range(400, 600)
MALFORMED = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
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
OVERFLOW_WORDS = re.compile(
    r"maximum context length|context (length|size|window)|input tokens exceed|too many tokens|tokens per min.*requested"
    r"|prompt is too long",
    re.IGNORECASE | re.DOTALL,
)
LIMIT = re.compile(
    r"(?:context length is|limit of|context size \(|up to|window of|\(tpm\): limit)\s*\(?(\d[\d,]*)", re.IGNORECASE
)


def refusal(asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error for a reply with a status of 300 or more."""
    if headers.get("fairlead-egress") in NO_SERVER:
        said = body.decode("utf-8", "replace").strip()[:MAX_TEXT]
        step = f"check that the server runs and that base_url is right: {asked.host}"
        return ConnectionFailed(asked.words(f"no connection: {clean(said)}"), next_step=step, **asked.fields())
    error = _error_object(body)
    return _classify(asked, status, error, _codes(error), headers)


def refusal_inside(asked: Asked, error: Any) -> ProviderError:
    """The error that came inside a reply of status 200, before anything was emitted."""
    error = error if isinstance(error, dict) else {"message": str(error)}
    codes = _codes(error)
    code = error.get("code")
    known = isinstance(code, int) and code in HTTP_ERRORS
    status = code if known else _status_of(codes)
    return _classify(asked, status, error, codes, {})


def _classify(
    asked: Asked, status: int, error: Mapping[str, Any], codes: set[str], headers: Mapping[str, str]
) -> ProviderError:
    said = asked.clean(clean(error.get("message")))
    kind = _kind(status, codes, said)
    fields = asked.fields(status)
    if kind is RateLimited:
        fields["reset_after"] = _reset_after(headers)
    elif kind is Overloaded:
        fields["reset_after"] = retry_after(headers)
    elif kind is ContextOverflow:
        fields["limit"] = _limit(error, said)
    step = NEXT_STEPS.get(kind, "").format(table=f"[providers.{asked.provider}]")
    problem = asked.words(f"status {status}: {said[:MAX_TEXT] or 'no reason given'}")
    return kind(problem, next_step=step, **fields)


def _kind(status: int, codes: set[str], said: str) -> type[ProviderError]:
    """The first rule that fits; the more special ones stand first, since servers share the statuses 400 and 429."""
    rules: tuple[tuple[type[ProviderError], object], ...] = (
        (BillingFailed, status == HTTPStatus.PAYMENT_REQUIRED or codes & BILLING),
        (ContextOverflow, _is_overflow(status, codes, said)),
        (ContentRefused, codes & REFUSED),
        (UnknownModel, status == HTTPStatus.NOT_FOUND or codes & NO_MODEL),
        (RateLimited, status == HTTPStatus.TOO_MANY_REQUESTS or codes & LIMITED),
        (AuthenticationFailed, status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)),
        (ProviderTimeout, status == HTTPStatus.REQUEST_TIMEOUT),
        (Overloaded, status >= HTTPStatus.INTERNAL_SERVER_ERROR or codes & BUSY),
    )
    return next((kind for kind, fits in rules if fits), BadRequest)


def _is_overflow(status: int, codes: set[str], said: str) -> bool:
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or codes & OVERFLOW:
        return True
    # A 429 about tokens per minute that one request alone exceeds will be refused for ever: it is too large.
    large = "too large" in said.lower() if status == HTTPStatus.TOO_MANY_REQUESTS else status in MALFORMED
    return large and bool(OVERFLOW_WORDS.search(said))


def _limit(error: Mapping[str, Any], said: str) -> int | None:
    if isinstance(error.get("n_ctx"), int):
        return int(error["n_ctx"])
    found = LIMIT.search(said)
    return int(found[1].replace(",", "")) if found else None


def _error_object(body: bytes) -> dict[str, Any]:
    """What stands under `error`; Ollama and others put a string or the whole object there. A page of a proxy is cut."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {"message": re.sub(r"\s+", " ", body.decode("utf-8", "replace"))}
    if isinstance(value, list) and value:
        value = value[0]
    inner = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(inner, dict):
        return inner if "message" in inner else {**inner, "message": str(inner.get("detail", inner))}
    return {"message": str(inner)}


def _codes(error: Mapping[str, Any]) -> set[str]:
    return {value.lower() for value in (error.get("code"), error.get("type")) if isinstance(value, str)}


def _status_of(codes: set[str]) -> int:
    if codes & LIMITED:
        return 429
    return 500 if not codes or codes & BUSY else 400


def _reset_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the window that is used up opens again; without a sign which one that is, until the first does."""
    if (seconds := retry_after(headers)) is not None:
        return seconds
    resets, exhausted = [], []
    for window in ("requests", "tokens"):
        seconds = duration(headers.get(f"x-ratelimit-reset-{window}", ""))
        if seconds is not None:
            resets.append(seconds)
            if headers.get(f"x-ratelimit-remaining-{window}", "").strip() == "0":
                exhausted.append(seconds)
    return max(exhausted) if exhausted else min(resets, default=None)


def duration(text: str) -> float | None:
    """Seconds out of ``6m0s``, ``1.5s``, ``20ms`` or a plain number; None for anything else."""
    if (plain := number(text)) is not None:
        return plain
    found = re.fullmatch(
        r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?(?:([0-9]+)ms)?", text.strip()
    )
    if not found or not found[0]:
        return None
    scales = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
    return sum(float(part) * scale for part, scale in zip(found.groups(), scales, strict=True) if part)
