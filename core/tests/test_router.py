"""Which agent gets which conversation, and the names of sessions."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import pytest
from attrs import asdict
from hypothesis import given
from hypothesis import strategies as st

from fairlead import Address, Principal, errors
from fairlead._router import Router
from fairlead.config import Binding

KEYS = ("channel", "role", "account", "conversation", "peer")
"""From weak to strong."""
ADDRESS = Address("chat", "bot", "room")
ALICE = Principal("chat:alice", "Alice", ("admin", "staff"))
MATCHING: dict[str, str] = {
    "channel": "chat",
    "role": "admin",
    "account": "bot",
    "conversation": "room",
    "peer": "chat:alice",
}
SUBSETS = [keys for size in range(6) for keys in combinations(KEYS, size)]


def binding(keys: tuple[str, ...], agent: str, **other: Any) -> Binding:
    return Binding(agent, **{key: MATCHING[key] for key in keys} | other)


def strength(keys: tuple[str, ...]) -> list[bool]:
    return [key in keys for key in reversed(KEYS)]


@pytest.mark.parametrize(("first", "second"), list(combinations(SUBSETS, 2)))
def test_of_every_two_bindings_the_more_specific_wins(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    """The strongest key that only one has decides, in whatever order they stand."""
    wins = "first" if strength(first) > strength(second) else "second"
    bindings = [binding(first, "first"), binding(second, "second")]
    assert wins == Router(bindings, "main").agent_for(ADDRESS, ALICE)
    assert wins == Router(bindings[::-1], "main").agent_for(ADDRESS, ALICE)


@pytest.mark.parametrize("key", KEYS)
def test_binding_that_does_not_match_is_not_used(key: str) -> None:
    """Each key excludes by itself; then the default agent answers."""
    router = Router([binding(KEYS, "other", **{key: "another"})], "main")
    assert "main" == router.agent_for(ADDRESS, ALICE)


@pytest.mark.parametrize("keys", SUBSETS)
def test_two_bindings_of_the_same_keys_tie(keys: tuple[str, ...]) -> None:
    """Refused where they name different agents; the file and both are named."""
    with pytest.raises(errors.ConfigError, match="two bindings tie") as told:
        Router([binding(keys, "a"), binding(keys, "b")], "main", file="fairlead.toml")
    assert ("fairlead.toml", "bindings") == (told.value.file, told.value.path)
    assert ("[any message]" in str(told.value)) is (not keys)
    assert "a" == Router([binding(keys, "a"), binding(keys, "a")], "main").agent_for(ADDRESS, ALICE)


@pytest.mark.parametrize("key", KEYS)
def test_bindings_that_exclude_each_other_do_not_tie(key: str) -> None:
    """Two channels, accounts, rooms or people; but one person can have two roles."""
    bindings = [binding(KEYS, "a"), binding(KEYS, "b", **{key: "another"})]
    if key == "role":
        with pytest.raises(errors.ConfigError, match="tie"):
            Router(bindings, "main")
    else:
        assert "a" == Router(bindings, "main").agent_for(ADDRESS, ALICE)


values = st.sampled_from(["", "x", "y"])
made = st.builds(Binding, st.sampled_from(["a", "b"]), values, values, values, values, values)


@given(st.lists(made, max_size=4))
def test_what_is_not_refused_never_depends_on_the_order(bindings: list[Binding]) -> None:
    """Whoever speaks wherever: the same agent, however the file is sorted."""
    try:
        one, other = Router(bindings, "main"), Router(bindings[::-1], "main")
    except errors.ConfigError:
        return
    for channel, account, room, peer in product("xy", repeat=4):
        address, author = Address(channel, account, room), Principal(peer, roles=("x", "y"))
        assert one.agent_for(address, author) == other.agent_for(address, author)


parts = st.text(st.sampled_from("ab/%:@ ü\n."), max_size=4) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=4
)
places = st.tuples(parts.filter(bool), st.builds(Address, parts, parts, parts, parts))


@given(places, places)
def test_different_conversations_have_different_sessions(first: tuple[str, Any], second: tuple[str, Any]) -> None:
    """Whatever the names hold, slashes and percent signs too; and the same one always has the same."""
    assert (first == second) is (Router.session_for(*first) == Router.session_for(*second))
    assert Router.session_for(first[0], Address(**asdict(first[1]))) == Router.session_for(*first)


def test_name_of_a_session_can_be_read() -> None:
    """What people see in a list."""
    assert "main/chat/bot/room" == Router.session_for("main", ADDRESS)
    assert "main/mail//a@b.c/re:%20x%2F1" == Router.session_for("main", Address("mail", "", "a@b.c", "re: x/1"))


def test_two_bindings_that_differ_in_mode_tie_as_well() -> None:
    """Though they name one agent: nobody could tell which mode holds."""
    with pytest.raises(errors.ConfigError, match=r"'a' in mode 'steer' and .* 'a', and one message"):
        Router([binding(("peer",), "a", mode="steer"), binding(("peer",), "a")], "main")
