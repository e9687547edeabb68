"""Who is let in, and what the others are told."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead import Message, Review
from fairlead_contacts import operations
from fairlead_contacts._policy import LOOK_SECONDS

from .strangers import NOW, Clock, code_of, make_policy, review, verdict


async def test_stranger_is_given_a_code_and_let_in_with_it(tmp_path: Path) -> None:
    """Typed in small letters with a dash; the running policy knows it when it looks again, a second later."""
    clock = Clock()
    policy = make_policy(tmp_path, clock)
    await policy.open()
    code = await code_of(policy)
    contact = operations.approve(tmp_path, f" {code[:4]}-{code[4:]}".lower(), clock=clock)
    assert ("kit", "bot", "kit:eve", "Eve", NOW) == (*contact.key, contact.name, contact.since)
    clock.now += LOOK_SECONDS
    assert None is await verdict(policy)
    assert () == operations.pending(tmp_path, clock=clock)


async def test_denial_says_the_code_and_until_when_and_nothing_else(tmp_path: Path) -> None:
    """Nothing of the agent, of its channels or of other people is in it."""
    policy = make_policy(tmp_path)
    denial = await verdict(policy)
    (waiting,) = operations.pending(tmp_path, clock=Clock())
    assert denial is not None
    expected = f"you are not known here. Give this code to whoever runs this: {waiting.code} (valid until 09:00 UTC)"
    assert ("deny", "contacts", expected) == (denial.effect, denial.rule, denial.reason)


async def test_same_stranger_gets_the_same_code_for_an_hour(tmp_path: Path) -> None:
    """Then another one."""
    clock = Clock()
    policy = make_policy(tmp_path, clock)
    first = await code_of(policy)
    clock.now += 3599
    assert first == await code_of(policy)
    clock.now += 1
    assert await code_of(policy) not in {"", first}


async def test_fourth_stranger_of_a_channel_waits(tmp_path: Path) -> None:
    """Another channel has room of its own; a code that is declined makes room, but gives its person no new one."""
    clock = Clock()
    policy = make_policy(tmp_path, clock)
    codes = [await code_of(policy, f"kit:{number}") for number in range(4)]
    assert [True, True, True, False] == [bool(code) for code in codes]
    assert await code_of(policy, "kit:3", channel="other")
    operations.decline(tmp_path, codes[0], clock=clock)
    clock.now += LOOK_SECONDS
    assert await code_of(policy, "kit:3")
    assert "" == await code_of(policy, "kit:0")


async def test_people_who_ask_at_once_get_one_code_each(tmp_path: Path) -> None:
    """Also when they send a crowd of messages before the first code is in the file."""
    policy = make_policy(tmp_path)
    seen: set[str] = set()

    async def ask() -> None:
        seen.add(await code_of(policy))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert [code.code for code in operations.pending(tmp_path, clock=Clock())] == list(seen)


async def test_approval_is_of_one_account_of_one_channel(tmp_path: Path) -> None:
    """Whoever is known to one bot is a stranger to the other."""
    clock = Clock()
    policy = make_policy(tmp_path, clock)
    operations.approve(tmp_path, await code_of(policy), clock=clock)
    clock.now += LOOK_SECONDS
    assert None is await verdict(policy)
    assert await code_of(policy, account="other")
    assert await code_of(policy, channel="other")


async def test_person_who_was_removed_is_a_stranger_again(tmp_path: Path) -> None:
    """And has no new code within the hour of the last one."""
    clock = Clock()
    policy = make_policy(tmp_path, clock)
    operations.approve(tmp_path, await code_of(policy), clock=clock)
    operations.remove(tmp_path, "kit:eve")
    clock.now += LOOK_SECONDS
    assert "" == await code_of(policy)


async def test_approval_survives_a_restart(tmp_path: Path) -> None:
    """A policy that is made later knows what is in the file, from its first message on."""
    operations.approve(tmp_path, await code_of(make_policy(tmp_path)), clock=Clock())
    another = make_policy(tmp_path)
    await another.open()
    assert None is await verdict(another)


@pytest.mark.parametrize(
    ("options", "who", "let_in"),
    [
        ({}, {"channel": "terminal"}, True),
        ({}, {"channel": "webhook"}, True),
        ({"exempt": []}, {"channel": "terminal"}, False),
        ({"mode": "open"}, {}, True),
        ({"mode": "open", "channels": {"kit": "allow"}}, {}, False),
        ({"channels": {"kit": "open"}}, {}, True),
        ({"allow": ["kit:eve"]}, {}, True),
        ({"allow": ["kit:ev"]}, {}, False),
        ({"allow": ["kit:*e"]}, {}, True),
        ({"allow": ["mail:*@example.org"]}, {"who": "mail:a@example.org"}, True),
        ({"allow": ["mail:*@example.org"]}, {"who": "mail:a@example.org.evil"}, False),
        ({"allow": ["mail:*@example.org"]}, {"who": "mail:a@exampleXorg"}, False),
        ({"allow": ["role:admin"]}, {"roles": ("admin",)}, True),
        ({"allow": ["role:admin"]}, {"who": "role:admin"}, False),
        ({"block": ["kit:*"], "allow": ["kit:eve"]}, {}, False),
        ({"block": ["kit:eve"], "mode": "open"}, {}, False),
        ({"block": ["kit:eve"]}, {"channel": "terminal"}, False),
    ],
)
async def test_options_say_who_is_let_in(
    options: dict[str, Any],
    who: dict[str, str],
    let_in: bool,  # noqa: FBT001  # a column of the table
    tmp_path: Path,
) -> None:
    """Modes, exempt channels, lists; block is the strongest."""
    assert let_in == (await verdict(make_policy(tmp_path, **options), **who) is None)


async def test_nobody_who_is_blocked_or_not_invited_gets_a_code(tmp_path: Path) -> None:
    """They all read the same words."""
    policy = make_policy(tmp_path, block=["kit:eve"], channels={"closed": "allow"})
    found = [await verdict(policy), await verdict(policy, "x:1", channel="closed"), await verdict(policy, "x" * 600)]
    assert ["you are not known here"] * 3 == [denial.reason for denial in found if denial]
    assert () == operations.pending(tmp_path)


async def test_host_that_asks_in_its_own_name_is_not_asked_who_it_is(tmp_path: Path) -> None:
    """`App.ask` has no channel; and at the other boundaries there is nothing to say."""
    policy = make_policy(tmp_path)
    assert frozenset({"message_in"}) == policy.boundaries
    assert () == tuple(await policy.review(Review("message_in", Message("user", ()))))


async def test_nobody_without_a_name_is_let_in(tmp_path: Path) -> None:
    """A message of a channel that knows no author."""
    nameless = Review("message_in", Message("user", ()), address=review().address)
    (denial,) = await make_policy(tmp_path).review(nameless)
    assert ("deny", "you are not known here") == (denial.effect, denial.reason)


async def test_name_that_a_stranger_chose_is_harmless_in_the_file(tmp_path: Path) -> None:
    """No control characters, no reordering, no lone surrogate, at most 100 characters."""
    policy = make_policy(tmp_path)
    await code_of(policy, name="\x1b[2J\u202eEve\ud800\n" + "x" * 1000)
    (waiting,) = operations.pending(tmp_path, clock=Clock())
    assert "[2JEve" + "x" * 94 == waiting.name


async def test_damaged_file_keeps_strangers_out_and_is_left_alone(tmp_path: Path) -> None:
    """Who is listed in the options still talks; doctor says which file it is and what to type."""
    file = operations.contacts_file(tmp_path)
    policy = make_policy(tmp_path, allow=["kit:ann"])
    file.parent.mkdir()
    await policy.open()
    file.write_text('{"version": 1, "contacts": [{"channel": 3}]}')
    clock = Clock(NOW + 2)
    policy.clock = policy.ticks = clock
    assert None is await verdict(policy, "kit:ann")
    assert "" == await code_of(policy)
    (finding,) = await policy.check()
    assert not finding.ok
    assert str(file) in finding.detail
    assert f"mv {file}" in finding.next_step
    with pytest.raises(operations.ContactsUnavailable):
        operations.approve(tmp_path, "AAAAAAAA")
    assert '{"version": 1, "contacts": [{"channel": 3}]}' == file.read_text()
    file.unlink()
    clock.now += LOOK_SECONDS
    assert await code_of(policy)


async def test_process_that_holds_the_lock_costs_a_denial_and_no_hang(tmp_path: Path) -> None:
    """After two seconds the stranger is denied without a code; somebody who is known never waits."""
    policy = make_policy(tmp_path, allow=["kit:ann"])
    operations.contacts_file(tmp_path).parent.mkdir()
    with operations.contacts_file(tmp_path).with_name("lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(code_of, policy)
            assert None is await verdict(policy, "kit:ann")
        assert () == operations.pending(tmp_path, clock=Clock())


async def test_known_people_cost_microseconds(tmp_path: Path) -> None:
    """No file is read for them; the file is looked at once a second, which is most of what this measures."""
    clock = Clock()
    policy = make_policy(tmp_path, clock)
    operations.approve(tmp_path, await code_of(policy), clock=clock)
    clock.now += LOOK_SECONDS
    asked = review()
    began = time.perf_counter()
    for _ in range(1000):
        await policy.review(asked)
    spent = time.perf_counter() - began
    assert spent < 0.1, "0.1 ms each: fifty times what a quiet machine needs"


async def test_another_process_approves_while_this_one_runs(tmp_path: Path) -> None:
    """As the command does; within a second of real time."""
    policy = make_policy(tmp_path)
    policy.clock, policy.ticks = time.time, time.monotonic
    await policy.open()
    code = await code_of(policy)
    program = (
        "import sys, pathlib; from fairlead_contacts import operations as o\n"
        "o.approve(pathlib.Path(sys.argv[1]), sys.argv[2])"
    )
    await trio.run_process([sys.executable, "-c", program, str(tmp_path), code])
    await trio.sleep(LOOK_SECONDS)  # real time: another process has changed a file
    assert None is await verdict(policy)


async def test_processes_that_change_the_file_at_once_lose_nothing(tmp_path: Path) -> None:
    """Four of them approve twelve people."""
    policy = make_policy(tmp_path)
    policy.clock = time.time
    codes = [await code_of(policy, f"kit:{n}", channel=f"c{n}") for n in range(12)]
    program = (
        "import sys, pathlib; from fairlead_contacts import operations as o\n"
        "for code in sys.argv[2:]: o.approve(pathlib.Path(sys.argv[1]), code)"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), *codes[place::4]]) for place in range(4)]
    assert [0, 0, 0, 0] == [process.wait(30) for process in running]
    assert sorted(f"kit:{n}" for n in range(12)) == sorted(each.principal for each in operations.known(tmp_path))


async def test_directory_that_cannot_be_made_keeps_strangers_out_and_nothing_else(tmp_path: Path) -> None:
    """Here: a file stands where it would be. The policy opens, and people who are listed talk."""
    (tmp_path / "contacts").write_text("")
    policy = make_policy(tmp_path, allow=["kit:ann"])
    await policy.open()
    assert None is await verdict(policy, "kit:ann")
    assert "" == await code_of(policy)
    (finding,) = await policy.check()
    assert (False, True) == (finding.ok, bool(finding.next_step))
