"""Hypothesis strategies for the frozen data: every value that a boundary may carry."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from fairlead import (
    Address,
    Audio,
    Data,
    Draft,
    File,
    Image,
    Inbound,
    Message,
    ModelAnswer,
    ModelRequest,
    Origin,
    Outbound,
    Principal,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    Verdict,
    events,
)
from fairlead._work import Boundary, Effect, Isolation, Progress, WorkClass

texts = st.text(max_size=20)
ids = st.text(min_size=1, max_size=10)
amounts = st.floats(min_value=0, max_value=1e12)
counts = st.integers(min_value=0, max_value=10**9)
leaves = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts
)
values: st.SearchStrategy[Any] = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5
)
objects = st.dictionaries(texts, values, max_size=3)


def few(one: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(one, max_size=2).map(tuple)


def one_of(literal: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(get_args(literal))


origins = st.builds(
    Origin, st.sampled_from(["host", "channel", "provider", "tool", "memory", "policy"]), name=texts, principal=texts
)
media_types = st.sampled_from(["image/png", "text/plain; charset=utf-8", "application/octet-stream"])
media = st.binary(max_size=10).map(lambda data: {"data": data}) | st.just({"url": "https://example.org/a"})


def with_media(cls: Any, **fields: Any) -> st.SearchStrategy[Any]:
    """Bytes or a URL: one of the two."""
    rest = st.fixed_dictionaries({"media_type": media_types, "origin": origins, **fields})
    return st.tuples(media, rest).map(lambda pair: cls(**pair[0], **pair[1]))


PARTS = {
    "Text": st.builds(Text, texts, origins),
    "Image": with_media(Image, alt=texts),
    "Audio": with_media(Audio, transcript=texts),
    "File": with_media(File, name=texts),
    "Data": st.builds(Data, values, origins),
}
parts = few(st.one_of(*PARTS.values()))

principals = st.builds(Principal, ids, texts, few(texts))
addresses = st.builds(Address, ids, texts, texts, texts)
calls = st.builds(ToolCall, ids, texts, objects | texts, origins)
statuses = st.sampled_from(["running", "done", "failed", "denied"])
errors = st.sampled_from(["", "denied", "invalid", "failed", "timeout", "isolation", "unknown", "skipped", "cancelled"])
results = st.builds(ToolResult, ids, texts, parts, errors, counts, objects)
said = st.builds(Message, st.just("user"), parts, ids, st.none() | principals)
answered = st.builds(Message, st.just("assistant"), parts, ids, st.none() | principals, few(calls))
messages = said | answered
usages = st.builds(Usage, counts, counts, counts, st.none() | amounts)

names = st.text("abcXYZ019_-", min_size=1, max_size=64)
specs = st.builds(
    ToolSpec, names, texts, objects, one_of(Effect), one_of(Isolation), st.none() | st.floats(0.1, 1e6), st.booleans()
)
requests = st.builds(
    ModelRequest,
    ids,
    few(messages | results),
    texts,
    few(specs),
    texts,
    texts,
    st.none() | objects,
    st.none() | st.integers(1, 10**6),
    objects,
    ids,
)
answers = st.builds(
    ModelAnswer, parts, few(calls), usages, st.sampled_from(["stop", "tools", "length", "refused"]), texts
)
inbounds = st.builds(Inbound, addresses, principals, parts, texts, texts, one_of(WorkClass), st.integers())
outbounds = st.builds(Outbound, ids, addresses, parts, texts, st.sampled_from(["answer", "notice"]), texts)
layers = st.sampled_from(["app", "agent", "channel", "person"])
revised = messages | requests | calls | results
verdicts = (
    st.builds(Verdict, st.sampled_from(["allow", "deny"]), ids, layers, texts, policy=texts)
    | st.builds(Verdict, st.just("ask"), ids, layers, texts, policy=texts, approvers=few(ids))
    | st.builds(Verdict, st.just("revise"), ids, layers, texts, revised, texts)
)

drafts = st.builds(
    Draft,
    ids,
    addresses,
    texts,
    few(
        st.builds(
            Progress, ids, texts, st.sampled_from(["running", "done", "failed", "denied"]), texts, values, objects
        )
    ),
    texts,
)

DATA: dict[str, st.SearchStrategy[Any]] = {
    "Origin": origins,
    **PARTS,
    "Principal": principals,
    "Address": addresses,
    "ToolCall": calls,
    "ToolResult": results,
    "Message": messages,
    "Usage": usages,
    "ToolSpec": specs,
    "ModelRequest": requests,
    "ModelAnswer": answers,
    "Inbound": inbounds,
    "Outbound": outbounds,
    "Verdict": verdicts,
}
"""Class name to its values."""

EVENTS: dict[str, st.SearchStrategy[events.Event]] = {
    "SessionStarted": st.builds(
        events.SessionStarted, at=amounts, agent=texts, address=st.none() | addresses, owner=texts
    ),
    "MessageAccepted": st.builds(
        events.MessageAccepted,
        at=amounts,
        message=messages,
        address=st.none() | addresses,
        external_id=texts,
        work_class=one_of(WorkClass),
        key=texts,
        priority=st.integers(),
        authors=few(principals),
    ),
    "TurnStarted": st.builds(events.TurnStarted, at=amounts, turn=ids, messages=few(ids), revised=few(messages)),
    "TurnSteered": st.builds(events.TurnSteered, at=amounts, turn=ids, messages=few(ids), revised=few(messages)),
    "ModelAnswered": st.builds(
        events.ModelAnswered,
        at=amounts,
        turn=ids,
        message=messages,
        provider=texts,
        model=texts,
        usage=usages,
        finish=texts,
    ),
    "ModelFailed": st.builds(
        events.ModelFailed,
        at=amounts,
        turn=ids,
        provider=texts,
        model=texts,
        error=texts,
        detail=texts,
        partial=texts,
    ),
    "Corrected": st.builds(events.Corrected, at=amounts, turn=ids, message=messages),
    "Decided": st.builds(
        events.Decided,
        at=amounts,
        turn=texts,
        boundary=one_of(Boundary),
        subject=texts,
        effect=st.sampled_from(["allow", "revise", "ask", "deny"]),
        rule=texts,
        layer=texts,
        policy=texts,
        reason=texts,
    ),
    "ApprovalRequested": st.builds(
        events.ApprovalRequested,
        at=amounts,
        turn=ids,
        id=ids,
        call=ids,
        tool=texts,
        arguments=values,
        principal=texts,
        digest=texts,
        shown=texts,
        approvers=few(texts),
        expires=amounts,
        key=texts,
    ),
    "ApprovalDecided": st.builds(
        events.ApprovalDecided, at=amounts, id=ids, granted=st.booleans(), by=texts, where=texts, reason=texts
    ),
    "ApprovalUsed": st.builds(events.ApprovalUsed, at=amounts, turn=ids, id=ids),
    "ToolReturned": st.builds(events.ToolReturned, at=amounts, turn=ids, result=results, full=texts, seconds=amounts),
    "TurnEnded": st.builds(
        events.TurnEnded,
        at=amounts,
        turn=ids,
        messages=few(ids),
        outcome=st.sampled_from(["answered", "refused", "failed", "cancelled"]),
        answer=st.none() | messages,
        address=st.none() | addresses,
        in_reply_to=texts,
        reason=texts,
        usage=usages,
    ),
    "AnswerDeferred": st.builds(events.AnswerDeferred, at=amounts, turn=ids, until=amounts, reason=texts),
    "AnswerSending": st.builds(events.AnswerSending, at=amounts, turn=ids, attempt=st.integers(1, 100)),
    "AnswerDelivered": st.builds(
        events.AnswerDelivered,
        at=amounts,
        turn=ids,
        status=st.sampled_from(["sent", "ambiguous", "failed", "unknown"]),
        external_id=texts,
        reason=texts,
    ),
    "ProviderHealth": st.builds(
        events.ProviderHealth,
        at=amounts,
        provider=texts,
        credential=texts,
        model=texts,
        cause=st.sampled_from(["general", "rate_limit", "billing", "auth", "outage"]),
        failures=counts,
        until=st.none() | amounts,
        error=texts,
        mark=texts,
    ),
    "RolledBack": st.builds(events.RolledBack, at=amounts, to_version=counts),
    "SessionForked": st.builds(events.SessionForked, at=amounts, parent=ids, parent_version=counts),
    "Compacted": st.builds(
        events.Compacted,
        at=amounts,
        turn=ids,
        summary=st.none() | answered,
        kept_from=counts,
        pinned=few(counts),
        cut_to=counts,
        cut_chars=counts,
        kept=st.dictionaries(texts, texts, max_size=2),
        tokens_before=counts,
        tokens_after=counts,
        provider=texts,
        model=texts,
        usage=usages,
    ),
    "CompactionUndone": st.builds(events.CompactionUndone, at=amounts),
    "DraftShown": st.builds(events.DraftShown, at=amounts, draft=drafts, principal=st.none() | principals),
    "NoticeRaised": st.builds(
        events.NoticeRaised,
        at=amounts,
        subject=texts,
        detail=texts,
        level=st.sampled_from(["info", "warning", "error"]),
        fields=st.dictionaries(texts, texts, max_size=2),
    ),
}
"""Class name to its values; a test holds that none is missing."""
