"""The supervisor's parts by themselves: what the kernel counts, the record, who wrote to a channel."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from fairlead_sandbox.inside import FrameError, encode
from fairlead_sandbox.inside._cgroup import Cgroup, Counts
from fairlead_sandbox.inside._pipes import Inbox, Outbox
from fairlead_sandbox.inside._record import Record

TWO = {
    "memory.events": "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n",
    "pids.events": "max 7\n",
    "cpu.stat": "usage_usec 2500000\nuser_usec 1\nsystem_usec 1\n",
    "memory.peak": "1048576\n",
}
ONE = {
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "pids/pids.events": "max 7\n",
    "cpuacct/cpuacct.usage": "2500000000\n",
    "memory/memory.max_usage_in_bytes": "1048576\n",
}


def counts(root: Path, files: dict[str, str]) -> Counts:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    cgroup = Cgroup(str(root))
    try:
        return cgroup.read()
    finally:
        cgroup.close()


@pytest.mark.parametrize("files", [TWO, ONE], ids=["version 2", "version 1"])
def test_cgroups_of_both_versions_say_the_same(tmp_path: Path, files: dict[str, str]) -> None:
    """Kills for want of memory, refused processes, seconds, bytes."""
    assert Counts(2, 7, 2.5, 1048576) == counts(tmp_path, files)


def test_what_the_kernel_does_not_tell_is_unknown(tmp_path: Path) -> None:
    """An old kernel has no ``oom_kill``; a machine without cgroups has nothing."""
    assert Counts(None, None, None, None) == counts(tmp_path, {"memory.events": "low 0\n"})
    assert Counts(None, None, None, None) == Cgroup(None).read()
    assert Counts(None, None, None, None) == Cgroup(str(tmp_path / "nothing")).read()


def test_record_forgets_what_is_old(tmp_path: Path) -> None:
    """When a supervisor starts."""
    record = Record(str(tmp_path), 1000)
    record.start("old", "w")
    record.start("new", "w")
    old = next(path for path in tmp_path.iterdir() if b'"old"' in path.read_bytes())
    os.utime(old, (time.time() - 2000, time.time() - 2000))
    again = Record(str(tmp_path), 1000)
    assert (False, None) == again.find("old", "w")
    assert (True, None) == again.find("new", "w")


def test_record_is_for_its_owner_only(tmp_path: Path) -> None:
    """The directory and what is in it."""
    tmp_path.chmod(0o777)
    Record(str(tmp_path), 1000).start("c", "w")
    assert [0o700, 0o600] == [path.stat().st_mode & 0o777 for path in (tmp_path, *tmp_path.iterdir())]


@pytest.mark.parametrize("call", ["../../etc/passwd", "/", ".", "\0", "ä" * 5000, ""])
def test_id_of_a_call_is_no_path(tmp_path: Path, call: str) -> None:
    """Whatever it is, its file lies in the directory."""
    record = Record(str(tmp_path), 1000)
    record.start(call, "w")
    record.end(call, {"op": "end", "value": "v"})
    assert (True, {"op": "end", "value": "v"}) == record.find(call, "w")
    assert 1 == len(list(tmp_path.iterdir()))


def test_record_of_another_call_is_not_given(tmp_path: Path) -> None:
    """The digest has tool and arguments in it, in any order of keys."""
    assert Record.digest("t", {"a": 1, "b": 2}) == Record.digest("t", {"b": 2, "a": 1})
    record = Record(str(tmp_path), 1000)
    record.start("c", Record.digest("t", {"a": 1}))
    with pytest.raises(ValueError, match="used before"):
        record.find("c", Record.digest("t", {"a": 2}))


def test_channel_believes_one_process_only() -> None:
    """The kernel names the sender of each piece, also where the socket was inherited."""
    ours, theirs = socket.socketpair()
    inbox = Inbox(ours)
    with ours, theirs:
        theirs.sendall(encode({"a": 1}))
        assert [{"a": 1}] == inbox.receive(os.getpid())
        child = os.fork()
        if child == 0:
            theirs.sendall(encode({"a": 2}))
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(FrameError, match=f"process {child} wrote to the channel of process {os.getpid()}"):
            inbox.receive(os.getpid())


def test_nobody_waits_for_a_reader_who_is_slow() -> None:
    """What is not taken is counted, and goes out later, in order."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outbox, inbox = Outbox(ours.fileno()), Inbox(theirs, 1 << 20)
        for number in range(5):
            outbox.send({"number": number, "data": "x" * 200_000})
        assert outbox.waiting > 500_000
        found: list[int] = []
        while len(found) < 5:
            found += [frame["number"] for frame in inbox.receive(os.getpid())]
            outbox.flush()
        assert ([0, 1, 2, 3, 4], 0) == (found, outbox.waiting)
