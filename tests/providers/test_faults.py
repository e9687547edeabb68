"""Both providers: whatever can go wrong has its error, which says who, what and what to do, and never the key."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import pytest
import trio

from fairlead import Delta, Message, Secret, Text
from fairlead.errors import (
    AuthenticationFailed,
    BadRequest,
    BillingFailed,
    BrokenStream,
    ConnectionFailed,
    ContentRefused,
    ContextOverflow,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    UnknownModel,
)

from .fake_servers import Fails, Says, closed_port, resetting_server
from .vendors import ANTHROPIC, KEY, OPENAI, Vendor, question

Kinds = tuple[str, str]
"""The code of a refusal, as OpenAI and as Anthropic spell it."""

REFUSALS: list[tuple[int, Kinds, str, type[ProviderError]]] = [
    (400, ("invalid_value", "invalid_request_error"), "unknown field 'x'", BadRequest),
    (401, ("invalid_api_key", "authentication_error"), f"wrong key {KEY}", AuthenticationFailed),
    (402, ("payment_required", "billing_error"), "no credit", BillingFailed),
    (403, ("forbidden", "permission_error"), "not yours", AuthenticationFailed),
    (404, ("model_not_found", "not_found_error"), "no such model", UnknownModel),
    (408, ("timeout", "timeout_error"), "too slow", ProviderTimeout),
    (413, ("too_large", "request_too_large"), "32 MB at most", ContextOverflow),
    (429, ("rate_limit_exceeded", "rate_limit_error"), "slow down", RateLimited),
    (500, ("server_error", "api_error"), "oops", Overloaded),
    (502, ("server_error", "api_error"), "bad gateway", Overloaded),
    (503, ("overloaded", "overloaded_error"), "busy", Overloaded),
    (529, ("overloaded", "overloaded_error"), "overloaded", Overloaded),
]


async def refused(vendor: Vendor, fails: Fails, **options: Any) -> ProviderError:
    """The error that a refusal becomes."""
    with vendor.serve([fails]) as url, pytest.raises(ProviderError) as caught:
        await vendor.ask(url, **options)
    return caught.value


@pytest.mark.parametrize(("status", "kinds", "message", "expected"), REFUSALS, ids=lambda value: str(value)[:24])
async def test_refusal_has_its_error(
    vendor: Vendor, status: int, kinds: Kinds, message: str, expected: type[ProviderError]
) -> None:
    """It names provider, model, status and the server's words, and leaves the key out also where the server says it."""
    error = await refused(vendor, Fails(status, vendor.error(kinds[vendor is ANTHROPIC], message)))
    assert expected is type(error)
    assert (vendor.name, "fake", status) == (error.provider, error.model, error.status)
    assert vendor.name in error.problem
    assert "'fake'" in error.problem
    assert message.replace(KEY, "***") in error.problem
    assert error.next_step or expected is ProviderTimeout
    assert KEY not in str(error) + repr(error) + repr(error.__cause__) + repr(error.__context__)


BY_WORDS: list[tuple[Vendor, int, Any, type[ProviderError], int | None]] = [
    (
        OPENAI,
        400,
        {"error": {"message": "This model's maximum context length is 8192 tokens. However, ...", "code": 400}},
        ContextOverflow,
        8192,
    ),
    (OPENAI, 400, OPENAI.error("context_length_exceeded", "Your input exceeds the window."), ContextOverflow, None),
    (
        OPENAI,
        400,
        {"error": {"code": 400, "type": "exceed_context_size_error", "message": "exceeds", "n_ctx": 4096}},
        ContextOverflow,
        4096,
    ),
    (
        OPENAI,
        429,
        OPENAI.error(
            "rate_limit_exceeded",
            "Request too large for gpt on tokens per min (TPM): Limit 30,000, Requested 40,000.",
        ),
        ContextOverflow,
        30_000,
    ),
    (OPENAI, 429, OPENAI.error("insufficient_quota", "You exceeded your current quota."), BillingFailed, None),
    (OPENAI, 400, OPENAI.error("content_filter", "filtered"), ContentRefused, None),
    (OPENAI, 403, OPENAI.error("model_not_found", "no access to model"), UnknownModel, None),
    (OPENAI, 404, {"error": "model 'x' not found, try pulling it first"}, UnknownModel, None),
    (OPENAI, 422, {"detail": [{"loc": ["body", "tools"]}]}, BadRequest, None),
    (
        ANTHROPIC,
        400,
        ANTHROPIC.error("invalid_request_error", "prompt is too long: 209353 tokens > 200000 maximum"),
        ContextOverflow,
        200_000,
    ),
    (
        ANTHROPIC,
        400,
        ANTHROPIC.error(
            "invalid_request_error", "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, ..."
        ),
        ContextOverflow,
        200_000,
    ),
    (
        ANTHROPIC,
        400,
        ANTHROPIC.error("invalid_request_error", "Your credit balance is too low to access the API."),
        BillingFailed,
        None,
    ),
    (
        ANTHROPIC,
        429,
        {"error": {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}}},
        BillingFailed,
        None,
    ),
    (
        ANTHROPIC,
        400,
        ANTHROPIC.error("invalid_request_error", "Output blocked by content filtering policy"),
        ContentRefused,
        None,
    ),
]


@pytest.mark.parametrize(("vendor_", "status", "body", "expected", "limit"), BY_WORDS)
async def test_refusal_is_told_by_its_code_or_words(
    vendor_: Vendor, status: int, body: Any, expected: type[ProviderError], limit: int | None
) -> None:
    """The servers share 400 and 429 among many faults; the window is named where the server names it."""
    error = await refused(vendor_, Fails(status, body))
    assert expected is type(error)
    if isinstance(error, ContextOverflow):
        assert limit == error.limit


RESETS: list[tuple[Vendor | None, dict[str, str], float | None]] = [
    (None, {}, None),
    (None, {"retry-after": "7"}, 7.0),
    (None, {"retry-after": "7", "retry-after-ms": "1500"}, 1.5),
    (None, {"retry-after": "DATE"}, 90.0),
    (None, {"retry-after": "soon"}, None),
    (OPENAI, {"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
    (OPENAI, {"x-ratelimit-reset-requests": "1h1.5s", "x-ratelimit-remaining-requests": "0"}, 3601.5),
    (ANTHROPIC, {"anthropic-ratelimit-input-tokens-reset": "MOMENT"}, 90.0),
    (
        ANTHROPIC,
        {
            "anthropic-ratelimit-input-tokens-reset": "MOMENT",
            "anthropic-ratelimit-requests-reset": "2000-01-01T00:00:00Z",
            "anthropic-ratelimit-requests-remaining": "0",
        },
        0.0,
    ),
]
"""Headers, and the seconds they stand for; without a vendor they hold for both."""


@pytest.mark.parametrize(("only", "headers", "seconds"), RESETS)
async def test_rate_limit_has_its_time_of_reset(
    vendor: Vendor, only: Vendor | None, headers: dict[str, str], seconds: float | None
) -> None:
    """Seconds, milliseconds, dates, and the windows of each vendor; none where the server says nothing."""
    then = time.time() + 90
    moments = {
        "DATE": formatdate(then, usegmt=True),
        "MOMENT": datetime.fromtimestamp(then, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    sent = {name: moments.get(value, value) for name, value in headers.items()}
    error = await refused(only or vendor, Fails(429, vendor.error("rate_limit_error", "slow down"), sent))
    assert isinstance(error, RateLimited)
    if seconds is None:
        assert error.reset_after is None
    else:
        assert error.reset_after is not None
        assert abs(seconds - error.reset_after) < 5


async def test_overload_has_its_time_of_reset(vendor: Vendor) -> None:
    """A busy provider may say when to come back."""
    error = await refused(vendor, Fails(503, vendor.error("overloaded_error", "busy"), {"retry-after": "3"}))
    assert isinstance(error, Overloaded)
    assert 3.0 == error.reset_after


async def test_refusal_that_is_no_json_is_quoted(vendor: Vendor) -> None:
    """A proxy in between answers with a page."""
    with vendor.serve([Fails(502, "<html>Bad gateway</html>")]) as url, pytest.raises(Overloaded) as caught:
        await vendor.ask(url)
    assert "Bad gateway" in caught.value.problem


async def test_nobody_listens(vendor: Vendor) -> None:
    """The host is named, and what to check."""
    with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1") as caught:
        await vendor.ask(closed_port())
    assert "base_url" in caught.value.next_step


async def test_connection_is_reset_before_an_answer(vendor: Vendor) -> None:
    """Nothing was shown yet, so another try is free."""
    with resetting_server() as url, pytest.raises(ConnectionFailed):
        await vendor.ask(url)


@pytest.mark.parametrize("breaks", ["cut", "garbage", "error"])
async def test_stream_that_breaks_after_a_piece(vendor: Vendor, breaks: str) -> None:
    """Half a stream, a line that is no JSON, an error in the middle: a part was shown, and the core must know."""
    with vendor.serve([Says("Hel", "lo", breaks=breaks)]) as url, pytest.raises(BrokenStream) as caught:
        await vendor.ask(url)
    assert vendor.name in caught.value.problem


@pytest.mark.parametrize(("breaks", "expected"), [("cut", ConnectionFailed), ("garbage", ConnectionFailed)])
async def test_stream_that_breaks_before_a_piece(vendor: Vendor, breaks: str, expected: type[ProviderError]) -> None:
    """Nothing was shown: as good as no connection."""
    with vendor.serve([Says(breaks=breaks)]) as url, pytest.raises(expected):
        await vendor.ask(url)


async def test_error_before_a_piece_is_the_error_that_it_is(vendor: Vendor) -> None:
    """Servers begin a stream and find only then that they are overloaded."""
    with vendor.serve([Says(breaks="error")]) as url, pytest.raises(Overloaded):
        await vendor.ask(url)


async def test_stream_without_an_end(vendor: Vendor) -> None:
    """It ends in order, but the mark of the end is missing."""
    with vendor.serve([Says("Hel", end=False), Says(end=False)]) as url:
        with pytest.raises(BrokenStream):
            await vendor.ask(url)
        with pytest.raises(ConnectionFailed):
            await vendor.ask(url)


async def test_stream_that_stalls(vendor: Vendor) -> None:
    """After `timeout.read` without a piece; the connection is closed, and the option is named."""
    with vendor.serve([Says("Hel", breaks="stall")]) as url:
        with pytest.raises(ProviderTimeout, match=r"0\.3 s") as caught:
            await vendor.ask(url, timeout={"connect": 5, "read": 0.3})
        assert url.hung_up.wait(5)
    assert f"timeout.read of [providers.{vendor.name}]" in caught.value.next_step


async def test_cancellation_closes_the_connection_and_spares_the_pool(vendor: Vendor) -> None:
    """Cancelled in the middle of a stream: the server sees it go, and the next request works."""
    with vendor.serve([Says("Hel", breaks="stall"), Says("again")]) as url:
        async with vendor.opened(url) as provider:
            with trio.CancelScope() as scope:

                async def cancel(delta: Delta) -> None:
                    scope.cancel()
                    await trio.lowlevel.checkpoint()

                await provider.generate(question(), cancel)
            assert scope.cancelled_caught
            assert await trio.to_thread.run_sync(url.hung_up.wait, 5)
            answer = await provider.generate(question(), nothing)
    assert "again" == Message("assistant", answer.parts).text


async def test_error_in_emit_comes_out_as_it_is(vendor: Vendor) -> None:
    """A fault of the reader is no fault of the provider, and the pool stays usable."""

    async def fail(delta: Delta) -> None:
        raise RuntimeError("the reader is broken")

    with vendor.serve([Says("Hel", "lo"), Says("again")]) as url:
        async with vendor.opened(url) as provider:
            with pytest.raises(RuntimeError, match="the reader is broken"):
                await provider.generate(question(), fail)
            assert "again" == Message("assistant", (await provider.generate(question(), nothing)).parts).text


async def test_connection_is_used_again(vendor: Vendor) -> None:
    """After an answer its connection goes back to the pool: TLS is not paid for at each turn."""
    with vendor.serve([Says("one", "two")]) as url:
        async with vendor.opened(url) as provider:
            for _ in range(5):
                await provider.generate(question(), nothing)
        assert 1 == len(url.connections)


async def test_reply_that_never_ends_is_bounded(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line and a body have a size that they may not pass."""
    monkeypatch.setattr(f"fairlead_{vendor.name}._http.MAX_LINE_BYTES", 1000)
    with vendor.serve([Says("x" * 200_000), Says("short", "y" * 200_000)]) as url:
        with pytest.raises(ConnectionFailed, match="more than 1000 bytes"):
            await vendor.ask(url)
        with pytest.raises(BrokenStream, match="more than 1000 bytes"):
            await vendor.ask(url)


async def test_many_events_count_towards_the_size_of_a_reply(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short lines without end are bounded too, and so is a whole reply."""
    monkeypatch.setattr(f"fairlead_{vendor.name}._provider.MAX_BODY_BYTES", 5000)
    with vendor.serve([Says(*["word "] * 500)]) as url, pytest.raises(BrokenStream, match="more than 5000 bytes"):
        await vendor.ask(url)


async def test_named_credential_is_sent(vendor: Vendor) -> None:
    """By its name; without one the plain key, or the first that has a name."""
    keys = {"work": Secret("key-work"), "spare": Secret("key-spare")}
    with vendor.serve([Says("ok")]) as url:
        await vendor.ask(url, question(credential="spare"), api_keys=keys)
        await vendor.ask(url, question(), api_keys=keys)
        await vendor.ask(url, question(), api_keys=keys, api_key="")
        sent = [key_of(headers) for headers in url.headers]
    assert ["key-spare", KEY, "key-work"] == sent


def key_of(headers: dict[str, str]) -> str:
    return headers.get("x-api-key") or headers["authorization"].removeprefix("Bearer ")


async def test_unknown_credential_names_the_known_ones(vendor: Vendor) -> None:
    """Nothing is sent."""
    with vendor.serve([Says("ok")]) as url:
        with pytest.raises(AuthenticationFailed, match=r"no credential 'other'; it has \['work'\]"):
            await vendor.ask(url, question(credential="other"), api_keys={"work": Secret("key-work")})
        assert [] == url.requests


async def test_local_server_needs_no_key(vendor: Vendor) -> None:
    """No header is sent; the vendor's own server is not even asked without one."""
    with vendor.serve([Says("ok")]) as url:
        await vendor.ask(url, api_key="")
        assert not {"authorization", "x-api-key"} & set(url.headers[0])
    official = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}[vendor.name]
    with pytest.raises(AuthenticationFailed, match="no API key"):
        await vendor.ask(official, api_key="")


async def test_key_with_a_line_break_is_trimmed_or_refused(vendor: Vendor) -> None:
    """Keys come out of files; one that no header can carry is refused without being shown."""
    with vendor.serve([Says("ok")]) as url:
        await vendor.ask(url, api_key=Secret(f"{KEY}\n"))
        assert KEY == key_of(url.headers[0])
        with pytest.raises(AuthenticationFailed) as caught:
            await vendor.ask(url, api_key=Secret(f"{KEY}\n{KEY}"))
    assert KEY not in str(caught.value)


async def test_configured_headers_are_sent(vendor: Vendor) -> None:
    """They overrule ours."""
    with vendor.serve([Says("ok")]) as url:
        await vendor.ask(url, headers={"X-Team": "blue", "Accept": "*/*"})
        assert ("blue", "*/*") == (url.headers[0]["x-team"], url.headers[0]["accept"])


async def test_check_says_how_it_is(vendor: Vendor) -> None:
    """Reached, refused, not there: a finding each, and never an exception."""
    with vendor.serve([]) as url:
        async with vendor.opened(url) as provider:
            reached = await provider.check()
    async with vendor.opened(closed_port()) as provider:
        missing = await provider.check()
    assert [True, False] == [reached[0].ok, missing[0].ok]
    assert missing[0].next_step
    assert KEY not in repr(missing)


async def test_server_that_cannot_list_its_models(vendor: Vendor) -> None:
    """An error where nothing is configured; else the configured ones are enough."""
    async with vendor.opened(closed_port()) as provider:
        with pytest.raises(ConnectionFailed):
            await provider.models()
    async with vendor.opened(closed_port(), models=[{"name": "mine"}]) as provider:
        assert ["mine"] == [info.name for info in await provider.models()]


async def test_redirect_is_refused(vendor: Vendor) -> None:
    """The key goes where the configuration says, and nowhere else."""
    with vendor.serve([Says("ok")]) as other:
        error = await refused(vendor, Fails(307, {}, {"location": str(other)}))
        assert [] == other.requests
    assert isinstance(error, BadRequest)


async def nothing(delta: Delta) -> None:
    """A reader who does not care."""


async def test_hostile_text_of_a_server_is_cleaned(vendor: Vendor) -> None:
    """A lone surrogate, which no journal can hold, is replaced in text."""
    with vendor.serve([Says("a\ud83d", "b")]) as url:
        asked = await vendor.ask(url, question(Message("user", (Text("lone \udc80 surrogate"),))))
    assert "a�b" == asked.text == asked.streamed


async def test_key_is_left_out_also_where_the_quotation_ends(vendor: Vendor) -> None:
    """Long words of a server are cut after the key was taken out of them."""
    error = await refused(vendor, Fails(400, vendor.error("invalid_request_error", "x" * 390 + KEY)))
    assert KEY[:6] not in str(error)


async def test_version_in_the_url_does_no_harm() -> None:
    """Chat Completions wants it there, the Messages API does not."""
    with ANTHROPIC.serve([Says("ok")]) as url:
        assert "ok" == (await ANTHROPIC.ask(f"{url}/v1/")).text
