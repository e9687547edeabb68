"""Reviews of messages of people, and a policy on clocks that the test sets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import define

from fairlead import Address, Message, Principal, Review, Settings, Text, Verdict
from fairlead_contacts._policy import Contacts

NOW = 1_800_000_000.0
"""2027-01-15 08:00 UTC."""
CODE = re.compile(r"\b[ABCDEFGHJKMNPQRSTVWXYZ23456789]{8}\b")


@define
class Clock:
    """Seconds, as the test says."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def make_policy(data_dir: Path, clock: Clock | None = None, **options: Any) -> Contacts:
    """Both of its clocks are the one that is given."""
    policy = Contacts(Settings("contacts", options, data_dir))
    policy.clock = policy.ticks = clock or Clock()
    return policy


def review(who: str = "kit:eve", *, channel: str = "kit", account: str = "bot", **more: Any) -> Review:
    person = Principal(who, more.pop("name", "Eve"), more.pop("roles", ()))
    message = Message("user", (Text("let me in"),), id="m1", author=person)
    return Review("message_in", message, "s1", "main", person, Address(channel, account, "room"))


async def verdict(policy: Contacts, *args: Any, **more: Any) -> Verdict | None:
    """The only verdict, or None for an abstention."""
    found = await policy.review(review(*args, **more))
    assert len(found) <= 1
    return found[0] if found else None


async def code_of(policy: Contacts, *args: Any, **more: Any) -> str:
    """The code that this person is given; empty where there is none."""
    denial = await verdict(policy, *args, **more)
    assert denial is not None
    assert "deny" == denial.effect
    found = CODE.search(denial.reason)
    return found[0] if found else ""
