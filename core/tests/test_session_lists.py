"""Lists of sessions."""

from __future__ import annotations

import fairlead
from fairlead import Principal
from fairlead.testing import ScriptedProvider


def echo() -> ScriptedProvider:
    return ScriptedProvider(["ok"], repeat=True)


async def test_list_is_bounded_by_the_owner() -> None:
    """Who began a session owns it; nobody sees another one's."""
    async with fairlead.open(providers=[echo()]) as app:
        await app.ask("hi", session="a", principal=Principal("app:alice"))
        await app.ask("hi", session="b", principal=Principal("app:bob"))
        await app.ask("hi", session="c")
        await app.ask("hi too", session="a", principal=Principal("app:bob"))
        assert ["a"] == [info.id for info in await app.sessions.list(owner="app:alice")]
        assert ["b"] == [info.id for info in await app.sessions.list(owner="app:bob")]
        assert [] == list(await app.sessions.list(owner="app:eve"))
        assert {"a", "b", "c"} == {info.id for info in await app.sessions.list()}
        assert 2 == len(await app.sessions.list(limit=2))
