"""Files that are turned over before they grow too large."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fairlead_logs._files import File, Stream


@pytest.fixture
def file(tmp_path: Path) -> File:
    made = File(tmp_path / "logs" / "l.jsonl", max_bytes=30, keep=2)
    made.open()
    return made


def texts(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((directory / "logs").iterdir())}


def test_file_is_turned_over_before_it_is_too_large(file: File, tmp_path: Path) -> None:
    """The last ones are kept; a line that is larger than a file has one for itself."""
    for number in range(6):
        file.write([f"{number}" * 19 + "\n"])
    assert {"l.jsonl": "5" * 19 + "\n", "l.jsonl.1": "4" * 19 + "\n", "l.jsonl.2": "3" * 19 + "\n"} == texts(tmp_path)
    file.write(["x" * 50 + "\n", "y\n"])
    assert {"l.jsonl": "y\n", "l.jsonl.1": "x" * 50 + "\n", "l.jsonl.2": "5" * 19 + "\n"} == texts(tmp_path)


def test_only_its_owner_reads_it(file: File, tmp_path: Path) -> None:
    """Also those that come later."""
    for _ in range(3):
        file.write(["x" * 20 + "\n"])
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "logs").iterdir()]
    assert [0o600] * 3 == modes


def test_file_that_was_moved_away_is_made_anew(file: File, tmp_path: Path) -> None:
    """By a program that turns logs over itself; or removed."""
    path = tmp_path / "logs" / "l.jsonl"
    file.write(["one\n"])
    path.rename(tmp_path / "moved")
    file.write(["two\n"])
    path.unlink()
    file.write(["three\n"])
    file.close()
    file.write(["four\n"])
    assert ("one\n", "three\nfour\n") == ((tmp_path / "moved").read_text(), path.read_text())


def test_link_is_not_followed(tmp_path: Path) -> None:
    """Whoever may write into the directory must not choose what is written."""
    (tmp_path / "other").write_text("")
    (tmp_path / "l.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        File(tmp_path / "l.jsonl", 30, 2).open()


def test_stream_is_the_one_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard error, flushed."""
    stream = Stream()
    stream.write(["one\n", "two\n"])
    stream.close()
    assert "one\ntwo\n" == capsys.readouterr().err
