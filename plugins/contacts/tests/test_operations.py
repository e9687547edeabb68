"""What the operator can do, and how often somebody may guess."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fairlead_contacts import operations

from .strangers import NOW, Clock, code_of, make_policy


def test_nothing_is_known_at_first_and_nothing_is_made_by_looking(tmp_path: Path) -> None:
    """Also where the app has never run."""
    assert ((), ()) == (operations.pending(tmp_path), operations.known(tmp_path))
    assert [] == list(tmp_path.iterdir())


async def test_code_is_used_once_and_expires(tmp_path: Path) -> None:
    """What is unknown, used or too old is told with the command that shows the codes."""
    clock = Clock()
    policy = make_policy(tmp_path, clock)
    code, other = await code_of(policy), await code_of(policy, "kit:mia")
    operations.approve(tmp_path, code, clock=clock)
    clock.now += 3600
    for typed in (code, other, "AAAAAAAA", "", "x" * 1000):
        with pytest.raises(operations.UnknownCode) as caught:
            operations.approve(tmp_path, typed, clock=clock)
        assert "fairlead contacts list" == caught.value.next_step


async def test_guessing_ends_after_ten(tmp_path: Path) -> None:
    """Then the right code is refused as well, until an hour after the first guess."""
    clock = Clock()
    policy = make_policy(tmp_path, clock)
    await code_of(policy)
    for number in range(10):
        with pytest.raises(operations.UnknownCode):
            operations.approve(tmp_path, f"AAAAAAA{number}", clock=clock)
    clock.now += 3000
    code = await code_of(policy, "kit:mia")
    with pytest.raises(operations.TooManyGuesses) as caught:
        operations.approve(tmp_path, code, clock=clock)
    assert "wait 10 min" in caught.value.next_step
    clock.now += 600
    assert "kit:mia" == operations.approve(tmp_path, code, clock=clock).principal


def test_removing_who_is_not_known_is_an_error(tmp_path: Path) -> None:
    """It says how to see who is."""
    with pytest.raises(operations.NotKnown, match="'kit:eve' is not among the contacts") as caught:
        operations.remove(tmp_path, "kit:eve")
    assert "fairlead contacts list" == caught.value.next_step


async def test_removing_takes_the_person_out_of_every_channel(tmp_path: Path) -> None:
    """Others stay."""
    clock = Clock()
    policy = make_policy(tmp_path, clock)
    for who, channel in (("kit:eve", "a"), ("kit:eve", "b"), ("kit:mia", "a")):
        operations.approve(tmp_path, await code_of(policy, who, channel=channel), clock=clock)
    assert ["a", "b"] == [gone.channel for gone in operations.remove(tmp_path, "kit:eve")]
    assert ["kit:mia"] == [contact.principal for contact in operations.known(tmp_path)]


async def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    """Codes and the names of people are nobody else's business."""
    policy = make_policy(tmp_path)
    await code_of(policy)
    file = operations.contacts_file(tmp_path)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file, file.with_name("lock"))]
    assert [0o700, 0o600, 0o600] == modes
    assert {"contacts.json", "lock"} == {path.name for path in file.parent.iterdir()}


async def test_directory_that_cannot_be_written_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    """Here: a file stands where the directory would be."""
    (tmp_path / "contacts").write_text("")
    with pytest.raises(operations.ContactsUnavailable, match="cannot be"):
        operations.approve(tmp_path, "AAAAAAAA", clock=Clock(NOW))
