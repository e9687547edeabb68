"""How long a session may get, and how it comes back from a file."""

from __future__ import annotations

from typing import Any

import pytest

import fairlead
from fairlead import Message, Text, errors, events, wire
from fairlead.config import Config, SessionLimits
from fairlead.testing import RecordingObserver, ScriptedProvider


def noticed(observer: RecordingObserver) -> list[str]:
    return [event.detail for event in observer.events(events.NoticeRaised) if event.subject == "sessions"]


async def test_session_that_is_full_takes_no_message_more() -> None:
    """The operator hears of it before, and what to type; the person is refused in words."""
    provider, observer = ScriptedProvider(["fine"], repeat=True), RecordingObserver()
    config = Config(sessions=SessionLimits(max_events=20))
    async with fairlead.open(config, providers=[provider], observers=[observer]) as app:
        for _ in range(5):
            await app.ask("hello", session="s")
        with pytest.raises(errors.TurnRefused, match="as long as it may become") as refused:
            await app.ask("hello", session="s")
        await app.ask("hello", session="another")
        await observer.wait_for(events.TurnEnded, provider.answered + 1)
    assert "sessions.max_events" == refused.value.rule
    assert 2 == len(noticed(observer))
    assert "'s' has 18 events, at most 20; next: fairlead sessions archive s" == noticed(observer)[0]


async def test_export_is_restored() -> None:
    """Erased, and brought back with all that was said; it goes on from there."""
    provider = ScriptedProvider(["one", "two", "three"])
    async with fairlead.open(providers=[provider]) as app:
        await app.ask("first", session="s")
        await app.ask("second", session="s")
        before, document = list(await app.sessions.history("s")), await app.sessions.export("s")
        with pytest.raises(errors.VersionConflict):
            await app.sessions.restore(document)
        await app.sessions.erase("s")
        assert "s" == await app.sessions.restore(document)
        assert before == list(await app.sessions.history("s"))
        assert document == await app.sessions.export("s")
        await app.ask("third", session="s")
    assert ["first", "one", "second", "two", "third"] == [item.text for item in provider.requests[-1].history]


async def test_restored_session_has_nothing_to_do() -> None:
    """What was open when it was written is closed: no call is made again, and nothing is answered late."""
    waiting = events.MessageAccepted(message=Message("user", (Text("hi"),)), key="chat\n\n\n1")
    raw = [{"version": 1, "kind": "session_started", "agent": "main"}]
    raw.append({"version": 2, "kind": "message_accepted", **wire.unstructure(waiting)})
    async with fairlead.open(providers=[ScriptedProvider([])]) as app:
        await app.sessions.restore({"format": "fairlead-session/1", "session": "s", "events": raw})
        assert [False] == [info.pending for info in await app.sessions.list()]
        last = (await app.sessions.records("s"))[-1].event
    assert isinstance(last, events.TurnEnded)
    assert "cancelled" == last.outcome


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({}, "is a required property"),
        ({"format": "fairlead-session/2", "session": "s", "events": []}, "/format"),
        (
            {"format": "fairlead-session/1", "session": "s", "events": [{"version": 1, "kind": "from_tomorrow"}]},
            "no event of kind 'from_tomorrow'",
        ),
    ],
)
async def test_what_is_no_export_is_refused(document: dict[str, Any], fault: str) -> None:
    """A kind of event that this version does not know would be lost."""
    async with fairlead.open(providers=[ScriptedProvider([])]) as app:
        with pytest.raises(errors.SchemaError, match=fault):
            await app.sessions.restore(document)
        assert [] == list(await app.sessions.list())
