"""Attacks on single parts: what each must hold, whatever the others do."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead_sandbox.inside._record import Record
from fairlead_sandbox.process._disk import measure_disk

MEGABYTE = 1 << 20
NOBODY = 65534


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte with room for few files."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system: sudo -E pytest sandbox")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=40", "small", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def calls(record: Record, count: int, value: str) -> None:
    for number in range(count):
        record.start(f"c{number}", "w")
        record.end(f"c{number}", {"op": "end", "value": value})


def test_record_that_is_full_of_results_takes_more(small: Path) -> None:
    """The oldest make room; the last ones are there, whole."""
    record = Record(str(small), 1000)
    end = {"op": "end", "value": "x" * 300_000}
    calls(record, 20, "x" * 300_000)
    assert (True, end) == record.find("c19", "w")
    assert (False, None) == record.find("c0", "w")


def test_record_that_is_full_of_calls_takes_more(small: Path) -> None:
    """A small file takes a place of its own, however small it is."""
    record = Record(str(small), 1000)
    calls(record, 200, "done")
    assert (True, {"op": "end", "value": "done"}) == record.find("c199", "w")


def test_full_record_forgets_no_call_whose_end_is_not_known(small: Path) -> None:
    """It might have had its effect: it must not run again because others came after it."""
    record = Record(str(small), 1000)
    record.start("cut off", "w")
    calls(record, 200, "done")
    assert (True, None) == record.find("cut off", "w")


def test_record_with_no_room_at_all_refuses(small: Path) -> None:
    """And what did not fit is not there by half."""
    record = Record(str(small), 1000)
    record.start("large", "w")
    with pytest.raises(OSError, match="No space left"):
        record.end("large", {"op": "end", "value": "x" * 2 * MEGABYTE})
    assert (True, None) == record.find("large", "w")
    record.end("large", {"op": "end", "value": "small"})
    assert (True, {"op": "end", "value": "small"}) == record.find("large", "w")


def test_call_that_another_supervisor_has_begun_stays_its_own(tmp_path: Path) -> None:
    """Two sandboxes of one session share a record: who comes second changes nothing."""
    first, second = Record(str(tmp_path), 1000), Record(str(tmp_path), 1000)
    first.start("c", "w")
    with pytest.raises(FileExistsError):
        second.start("c", "w")
    assert (True, None) == first.find("c", "w")


# -- the disk of a plugin process


def below(place: Path, levels: int) -> None:
    """Make directories in each other, so deep that no path reaches the last one, and a file in that."""
    top = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("n" * 200, dir_fd=top)
        inner = os.open("n" * 200, os.O_RDONLY | os.O_DIRECTORY, dir_fd=top)
        os.close(top)
        top = inner
    with os.fdopen(os.open("large", os.O_CREAT | os.O_WRONLY, dir_fd=top), "wb") as file:
        file.write(b"x" * MEGABYTE)
    os.close(top)


def test_directory_too_deep_to_be_measured_is_noticed(tmp_path: Path) -> None:
    """What lies there could fill the disk, and nobody would see it."""
    place = tmp_path / "work"
    place.mkdir()
    below(place, 25)
    try:
        assert "File name too long" in measure_disk(place, []).hidden
    finally:
        subprocess.run(["rm", "-rf", place], check=True)  # it goes down step by step


def test_directory_that_is_closed_to_the_host_is_noticed(tmp_path: Path) -> None:
    """A plugin that has the host's own user can close one, and go on in it."""
    (tmp_path / "closed").mkdir(mode=0)
    top = os.open(tmp_path, os.O_RDONLY)
    if os.geteuid() == 0:
        os.chown(top, NOBODY, NOBODY)
    child = os.fork()
    if child == 0:
        os.fchdir(top)
        if os.geteuid() == 0:
            os.setuid(NOBODY)  # nothing is closed to root
        os._exit(0 if "Permission denied" in measure_disk(Path(), []).hidden else 1)
    os.close(top)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_file_without_a_name_counts_once_while_it_is_mapped(tmp_path: Path) -> None:
    """Closed, only the memory that shows it keeps it; open more than once, it is still one file."""
    directory, nobody = tmp_path / "work", [os.getpid()]
    directory.mkdir()
    before = measure_disk(directory, nobody).used
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    number = os.open(tmp_path / "unnamed", os.O_RDWR | os.O_CREAT)
    os.write(number, b"x" * MEGABYTE)
    (tmp_path / "unnamed").unlink()
    size = os.fstat(number).st_blocks * 512
    others = [os.dup(number) for _ in range(5)]
    shown = libc.mmap(None, ctypes.c_size_t(MEGABYTE), mmap.PROT_READ, mmap.MAP_SHARED, number, ctypes.c_long(0))
    try:
        assert before + size == measure_disk(directory, nobody).used
        for each in (number, *others):
            os.close(each)
        assert before + MEGABYTE <= measure_disk(directory, nobody).used <= before + size
    finally:
        libc.munmap(ctypes.c_void_p(shown), ctypes.c_size_t(MEGABYTE))
    assert before == measure_disk(directory, nobody).used


def test_what_can_be_seen_hides_nothing(tmp_path: Path) -> None:
    """Links are not followed, and are no reason to kill anybody."""
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to("/nonexistent/file")
    found = measure_disk(tmp_path, [])
    assert (2, "") == (found.files, found.hidden)
