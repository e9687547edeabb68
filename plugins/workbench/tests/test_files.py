"""Reading, writing, editing, listing and sending the files of a workspace."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import trio

from fairlead import File, Image, Text
from fairlead_workbench.bare import matches

from .calling import Bench

CAT = "     1\tone\n     2\ttwo\n     3\tthree"


@pytest.mark.parametrize("content", ["one\ntwo\nthree\n", "one\ntwo\nthree", "\ufeffone\ntwo\nthree\n"])
async def test_reading_numbers_the_lines(bench: Bench, content: str) -> None:
    """A line end at the end begins no further line, and a byte order mark is no part of the first."""
    bench.put("a.txt", content)
    assert CAT == await bench.text("read_file", path="a.txt")


async def test_reading_a_part(bench: Bench) -> None:
    """It says how to go on."""
    bench.put("a.txt", "".join(f"line {number}\n" for number in range(1, 2_001)))
    part = await bench.text("read_file", path="a.txt", start=10, lines=2)
    assert "    10\tline 10\n    11\tline 11\n[lines 10 to 11 of 2,000; go on with start=12]" == part
    whole = await bench.text("read_file", path="a.txt")
    assert whole.endswith("\n  1000\tline 1000\n[lines 1 to 1,000 of 2,000; go on with start=1001]")
    end = await bench.text("read_file", path="a.txt", start=2_000)
    assert "  2000\tline 2000\n[lines 2,000 to 2,000 of 2,000]" == end
    assert "none from 2,001 on" in await bench.refusal("read_file", path="a.txt", start=2_001)


async def test_reading_very_long_lines(bench: Bench) -> None:
    """One is cut, and many of them make a shorter page."""
    bench.put("a.txt", ("x" * 3_000_000 + "\n") * 3)
    text = await bench.text("read_file", path="a.txt", lines=1)
    assert text.startswith("     1\t" + "x" * 2_000 + "[... 2,998,000 more characters]\n[lines 1 to 1 of 3")
    bench.put("b.txt", ("x" * 2_000 + "\n") * 500)
    text = await bench.text("read_file", path="b.txt")
    assert text.endswith("[lines 1 to 50 of 500; go on with start=51]")


async def test_only_line_feeds_end_lines(bench: Bench) -> None:
    """Not what Python's splitlines takes for one: the numbers are those of every other program."""
    bench.put("a.txt", "a\x0bb\x0cc\u2028d\x85e\x1ef\n")
    assert "     1\ta\x0bb\x0cc\u2028d\x85e\x1ef" == await bench.text("read_file", path="a.txt")
    bench.put("b.txt", "a\r\nb\r\n")
    assert "     1\ta\n     2\tb\n[the lines end with CRLF, \\r\\n]" == await bench.text("read_file", path="b.txt")


async def test_reading_nothing(bench: Bench) -> None:
    """Empty is said, and missing too."""
    bench.put("empty", "")
    assert "empty is empty." == await bench.text("read_file", path="empty")
    assert "there is no gone" == await bench.refusal("read_file", path="gone")
    assert "list_files" in await bench.refusal("read_file", path=".")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG\r\n\x1a\n\0", "byte 0x89 at 0"),
        (b"text\xff", "byte 0xff at 4"),
        (b"a\0b", "a NUL character at 1"),
        ("ü".encode("latin-1"), "byte 0xfc at 0"),
        ("hello".encode("utf-16"), "is text in utf-16-le, expected UTF-8. Next: iconv"),
        (b"\xed\xa0\x80", "byte 0xed at 0"),
    ],
)
async def test_what_is_no_text_is_told(bench: Bench, content: bytes, words: str) -> None:
    """With what can be done with it; reading and editing say the same."""
    bench.put("a.bin", content)
    assert words in await bench.refusal("read_file", path="a.bin")
    assert words in await bench.refusal("edit_file", path="a.bin", old="a", new="b")


async def test_file_that_is_too_large_is_not_read(bench: Bench) -> None:
    """Not one byte of it: 1 TB of nothing takes no time and no memory."""
    with bench.put("huge", "").open("r+b") as file:
        file.truncate(1 << 40)
    for tool, arguments in (("read_file", {}), ("edit_file", {"old": "a", "new": "b"})):
        refusal = await bench.refusal(tool, path="huge", **arguments)
        assert "huge has 1,099,511,627,776 bytes, at most 10,485,760 are taken. Next: take a part" in refusal
    assert "at most 3,000,000 are taken" in await bench.refusal("send_file", path="huge")


async def test_writing_makes_directories_and_replaces_in_one_step(bench: Bench) -> None:
    """The old file stays whole for whoever has it open, and its mode is kept."""
    assert "Wrote a/b/c.txt: 2 lines, 8 bytes." == await bench.text(
        "write_file", path="a/b/c.txt", content="one\ntwo\n"
    )
    path = bench.root / "a/b/c.txt"
    assert 0o644 == stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o4755)
    with path.open() as old:
        assert "Replaced a/b/c.txt: 1 line, 1 byte." == await bench.text("write_file", path="a/b/c.txt", content="x")
        assert "one\ntwo\n" == old.read()
    assert 0o755 == stat.S_IMODE(path.stat().st_mode)
    assert "Replaced a/b/c.txt: 0 lines, 0 bytes." == await bench.text("write_file", path="a/b/c.txt", content="")
    assert ["a", "a/b", "a/b/c.txt"] == bench.files()


@pytest.mark.parametrize("content", ["", "\r\n\r", "\0", "ü€\U0001f9ed", "\ufeffa", "no end", "\u2028"])
async def test_what_is_written_is_what_was_given(bench: Bench, content: str) -> None:
    """Byte for byte."""
    await bench.text("write_file", path="a", content=content)
    assert content.encode() == (bench.root / "a").read_bytes()


async def test_writing_what_cannot_be_written(bench: Bench) -> None:
    """Nothing is changed, and no temporary file is left."""
    bench.put("kept", "kept").chmod(0o444)
    (bench.root / "dir").mkdir()
    assert "is a directory" in await bench.refusal("write_file", path="dir", content="x")
    assert "is a directory" in await bench.refusal("write_file", path="./", content="x")
    assert "write-protected. Next: chmod u+w kept" in await bench.refusal("write_file", path="kept", content="x")
    assert "is no directory" in await bench.refusal("write_file", path="kept/below", content="x")
    assert "half a character" in await bench.refusal("write_file", path="x", content="\ud800")
    assert ["dir", "kept"] == bench.files()


async def test_writing_more_than_the_table_allows(tmp_path: Path) -> None:
    """Written or edited."""
    bench = Bench(tmp_path, file_bytes=1_000)
    assert "at most 1,000" in await bench.refusal("write_file", path="a", content="x" * 1_001)
    bench.put("b", "x" * 100)
    assert "would have 10,000 bytes" in await bench.refusal("edit_file", path="b", old="x", new="y" * 100, all=True)
    assert b"x" * 100 == (bench.root / "b").read_bytes()


async def test_edit_that_would_fill_the_memory_is_refused_before(bench: Bench) -> None:
    """Ten million letters, each to become a million."""
    bench.put("a", "x" * 10_000_000)
    with trio.fail_after(10):
        refusal = await bench.refusal("edit_file", path="a", old="x", new="y" * 1_000_000, all=True)
    assert "would have 10,000,000,000,000 bytes" in refusal


POEM = "roses are red\nviolets are blue\nsugar is sweet\n"


async def test_editing_shows_what_is_there_now(bench: Bench) -> None:
    """The lines around it, with their numbers."""
    bench.put("a.txt", POEM)
    text = await bench.text("edit_file", path="a.txt", old="violets are blue", new="violets\nare violet")
    assert "Changed a.txt at line 2. It now reads:\n     1\troses are red\n     2\tviolets\n" in text
    assert POEM.replace("violets are blue", "violets\nare violet") == (bench.root / "a.txt").read_text()


async def test_editing_every_place(bench: Bench) -> None:
    """Where the call says so."""
    bench.put("a.txt", POEM)
    assert "2 times, first at line 1" in await bench.text("edit_file", path="a.txt", old=" are ", new=" be ", all=True)
    assert "roses be red\nviolets be blue\n" in (bench.root / "a.txt").read_text()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("are", "is", "stands 2 times in a.txt, at the lines 1, 2; nothing was changed. Next: add lines around"),
        ("are  red", "is", "With other white space it stands at line 1"),
        ("tulips", "x", "does not stand in a.txt; nothing was changed. Next: read_file"),
        ("red", "red", "old and new are the same"),
        ("red\r\n", "x", "does not stand"),
        ("red", "\ud800", "half a character"),
        ("\ud800", "x", "half a character"),
    ],
)
async def test_edit_that_is_not_clear_changes_nothing(bench: Bench, old: str, new: str, words: str) -> None:
    """It says what was found, and what to do."""
    bench.put("a.txt", POEM)
    assert words in await bench.refusal("edit_file", path="a.txt", old=old, new=new)
    assert POEM == (bench.root / "a.txt").read_text()


async def test_editing_keeps_line_ends_and_marks(bench: Bench) -> None:
    """A file of another system stays one."""
    bench.put("a.txt", "\ufeffone\r\ntwo\r\nthree\r\n")
    assert "end with CRLF. Next: write \\r\\n" in await bench.refusal(
        "edit_file", path="a.txt", old="one\ntwo", new="x"
    )
    await bench.text("edit_file", path="a.txt", old="two", new="2")
    assert "\ufeffone\r\n2\r\nthree\r\n".encode() == (bench.root / "a.txt").read_bytes()


async def test_thousand_places_are_not_all_named(bench: Bench) -> None:
    """Ten are enough to see."""
    bench.put("a.txt", "x\n" * 1_000)
    assert "1,000 times in a.txt, at the lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...;" in await bench.refusal(
        "edit_file", path="a.txt", old="x", new="y"
    )


async def test_listing_a_directory(bench: Bench) -> None:
    """By name: directories, files, links; hidden ones too."""
    bench.put("b.txt", "12")
    bench.put("dir/c.txt", "")
    bench.put(".hidden", "1")
    (bench.root / "link").symlink_to("b.txt")
    os.mkfifo(bench.root / "pipe")
    expected = ".hidden (1 byte)\nb.txt (2 bytes)\ndir/\nlink -> b.txt\npipe (no regular file)"
    assert expected == await bench.text("list_files")
    assert expected == await bench.text("list_files", path=str(bench.root))
    assert "dir/c.txt (0 bytes)" == await bench.text("list_files", path="dir")
    assert "is no directory" in await bench.refusal("list_files", path="b.txt")
    (bench.root / "new").mkdir()
    assert "new is empty." == await bench.text("list_files", path="new")


async def test_listing_what_fits_a_pattern(bench: Bench) -> None:
    """A name at any depth, or a path from the directory that is listed."""
    for name in ("a.py", "src/b.py", "src/deep/c.py", "src/d.txt"):
        bench.put(name, "")
    assert ["a.py", "src/b.py", "src/deep/c.py"] == await listed(bench, pattern="*.py")
    assert ["src/b.py"] == await listed(bench, pattern="src/*.py")
    assert ["src/b.py", "src/deep/c.py"] == await listed(bench, pattern="src/**/*.py")
    assert ["src/b.py", "src/deep/c.py"] == await listed(bench, path="src", pattern="**/*.py")
    assert "No file below . fits '*.rs'." == await bench.text("list_files", pattern="*.rs")


async def listed(bench: Bench, **arguments: str) -> list[str]:
    return [line.split(" ")[0] for line in (await bench.text("list_files", **arguments)).splitlines()]


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("a/b/c.py", "**", True),
        ("a/b/c.py", "**/c.py", True),
        ("c.py", "**/c.py", True),
        ("a/b/c.py", "a/**/b/c.py", True),
        ("a/b/c.py", "a/*/c.py", True),
        ("a/b/c.py", "a/*.py", False),
        ("a/b/c.py", "/a/b/*", True),
        ("a/b/c.py", "b/*", False),
        ("a/b/c.py", "[ab]/?/c.p[!x]", True),
        ("A.PY", "*.py", False),
        ("a/" * 1000 + "z", "**/a/" * 60 + "b", False),
        ("a" * 250, "*a" * 100 + "b", False),
    ],
)
def test_patterns_fit(path: str, pattern: str, fits: bool) -> None:  # noqa: FBT001  # a column of the table
    """Also those that are made to take for ever."""
    assert fits == matches(path, pattern)


async def test_listing_thousands(bench: Bench) -> None:
    """The first thousand, and that there are more."""
    for number in range(1_200):
        bench.put(f"{number:04}", "")
    lines = (await bench.text("list_files")).splitlines()
    assert ("0000 (0 bytes)", "0999 (0 bytes)", 1_001) == (lines[0], lines[999], len(lines))
    assert lines[-1].startswith("[the first 1,000;")


async def test_listing_long_names(bench: Bench) -> None:
    """By their length as well."""
    for number in range(900):
        bench.put(f"{'d' * 200}/{number:04}{'x' * 200}", "")
    text = await bench.text("list_files", pattern="*")
    assert len(text) < 101_000
    assert "list a directory below" in text


PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.bin", PNG, "image/png"),
        ("a.png", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("a", b"GIF89a", "image/gif"),
        ("a", b"RIFF....WEBP", "image/webp"),
        ("a.png", b"no picture", "image/png"),
        ("a.svg", b"<svg/>", "image/svg+xml"),
        ("a.pdf", b"%PDF-1.7", "application/pdf"),
        ("a.unknown-kind", b"x", "application/octet-stream"),
        ("empty", b"", "application/octet-stream"),
    ],
)
async def test_sending_a_file(bench: Bench, name: str, data: bytes, kind: str) -> None:
    """A picture is one by its first bytes; whatever only claims to be one goes as a file."""
    bench.put(name, data)
    result = await bench.result("send_file", path=name)
    text, part = result.parts
    assert isinstance(text, Text)
    assert text.text.startswith(f"Sent {name}: {len(data)} byte")
    assert isinstance(part, Image | File)
    assert (data, kind) == (part.data, part.media_type)
    assert isinstance(part, Image) == (kind.startswith("image/") and data not in (b"no picture", b"<svg/>"))


async def test_many_calls_at_once_are_apart(bench: Bench) -> None:
    """Each writes its file; each file is whole."""
    async with trio.open_nursery() as nursery:
        for number in range(20):

            async def write(number: int = number) -> None:
                await bench.text("write_file", path=f"d/{number % 4}", content=str(number) * 10_000)

            nursery.start_soon(write)
    contents = [(bench.root / f"d/{number}").read_text() for number in range(4)]
    assert [True] * 4 == [content in {str(number) * 10_000 for number in range(20)} for content in contents]
    assert ["d", "d/0", "d/1", "d/2", "d/3"] == bench.files()
