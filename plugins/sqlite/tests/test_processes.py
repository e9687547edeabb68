"""Several processes on one file: SIGKILL, claiming, conflicts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trio

from .opened import opened, said, texts

CHILD = Path(__file__).with_name("child.py")


@contextmanager
def child(command: str, directory: Path, session: str = "") -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, str(CHILD), command, str(directory), session]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    text = process.stdout.readline().strip()
    assert text, "the child ended without a word; its error is above"
    return text


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def kill(process: subprocess.Popen[str]) -> list[int]:
    """The versions that it had acknowledged, as far as they were not read yet."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    return [int(text) for text in process.stdout.read().split("\n")[:-1]]


def test_killed_writers_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Four writers on one file are killed at five different moments; then all of their work can be claimed."""
    sessions = [f"s{number}" for number in range(4)]
    acknowledged = dict.fromkeys(sessions, 0)

    async def look() -> None:
        async with opened(tmp_path) as memory:
            for session, version in acknowledged.items():
                found = await texts(memory.journal, session)
                assert len(found) >= version
                assert [f"{session}/{number}" for number in range(len(found))] == found
            assert sessions == sorted(await memory.journal.claim())

    for round_number in range(5):
        with ExitStack() as stack:
            children = {session: stack.enter_context(child("append", tmp_path, session)) for session in sessions}
            for number, process in enumerate(children.values()):
                for _ in range(1 + 7 * round_number + 3 * number):
                    line(process)
            for session, process in children.items():
                acknowledged[session] = max([acknowledged[session], *kill(process)])
        trio.run(look)
    assert all(version > 28 for version in acknowledged.values())


def test_two_who_claim_at_once_never_get_the_same_session(tmp_path: Path) -> None:
    """The work of the dead is shared out without overlap; that of the living is left to them."""
    with ExitStack() as stack:
        dead = [stack.enter_context(child("append", tmp_path, f"dead{number}")) for number in range(3)]
        living = stack.enter_context(child("append", tmp_path, "living"))
        claimers = [stack.enter_context(child("claim", tmp_path)) for _ in range(2)]
        for process in [*dead, living, *claimers]:
            line(process)
        for process in dead:
            kill(process)
            process.wait()
        for process in claimers:
            tell(process)
        first, second = (json.loads(line(process)) for process in claimers)
        assert ["dead0", "dead1", "dead2"] == sorted(first + second)
        # Whoever claimed is killed as well: its sessions are free again, those of the living are not.
        for process in claimers:
            process.kill()
            process.wait()

        async def claim() -> list[str]:
            async with opened(tmp_path) as memory:
                return sorted(await memory.journal.claim())

        assert ["dead0", "dead1", "dead2"] == trio.run(claim)


def test_one_of_two_processes_wins_each_version(tmp_path: Path) -> None:
    """Both want to write all versions of one session; each version has one winner, and nobody sees a busy file."""
    with ExitStack() as stack:
        children = [stack.enter_context(child("race", tmp_path, "shared")) for _ in range(2)]
        for process in children:
            line(process)
        for process in children:
            tell(process)
        first, second = (json.loads(line(process)) for process in children)
    assert list(range(1, 31)) == sorted(first + second)


def test_processes_that_make_the_file_at_once_agree(tmp_path: Path) -> None:
    """Whoever is first makes the tables, the other one uses them."""
    with ExitStack() as stack:
        children = [stack.enter_context(child("claim", tmp_path)) for _ in range(3)]
        assert ["ready"] * 3 == [json.loads(line(process)) for process in children]

    async def write() -> int:
        async with opened(tmp_path) as memory:
            return await memory.journal.append("s", 0, [said()], pending=False)

    assert 1 == trio.run(write)
