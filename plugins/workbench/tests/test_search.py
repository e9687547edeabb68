"""Searching, also with patterns and files that are made to take for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from fairlead_workbench import _programs
from fairlead_workbench._running import Program, interpreter, run

from .calling import Bench


async def test_matches_are_shown_with_file_and_line(bench: Bench) -> None:
    """In the order of paths; each line once."""
    bench.put("b.txt", "Needle\nhay needle hay needle\r\n")
    bench.put("a/c.py", "x\n\nneedle = 1")
    expected = "a/c.py:3: needle = 1\nb.txt:2: hay needle hay needle"
    assert expected == await bench.text("search_files", pattern="ne+dle")
    assert "b.txt:1: Needle\nb.txt:2: hay needle hay needle" == await bench.text(
        "search_files", pattern="(?i)needle", path="b.txt"
    )
    assert "a/c.py:3: needle = 1" == await bench.text("search_files", pattern="needle", path="a")
    assert "a/c.py:3: needle = 1" == await bench.text("search_files", pattern="needle", glob="*.py")
    assert "a/c.py:1: x" == await bench.text("search_files", pattern="^x$")
    assert "No match in 2 files." == await bench.text("search_files", pattern="pin")


async def test_what_nobody_wrote_here_is_left_out_unless_it_is_named(bench: Bench) -> None:
    """Repositories, caches, installed packages."""
    bench.put(".git/config", "needle")
    bench.put("sub/node_modules/x.js", "needle")
    bench.put("sub/mine.js", "needle")
    assert "sub/mine.js:1: needle" == await bench.text("search_files", pattern="needle")
    assert ".git/config:1: needle" == await bench.text("search_files", pattern="needle", path=".git")


async def test_what_cannot_be_searched_is_counted(tmp_path: Path) -> None:
    """Binary files and large ones, so that no match is not taken for none at all."""
    bench = Bench(tmp_path, file_bytes=1_000)
    bench.put("a.bin", b"needle\0")
    bench.put("b.bin", b"needle\xff")
    bench.put("large", "needle" * 1_000)
    bench.put("ok", "needle")
    expected = "ok:1: needle\n[left out: files that are no UTF-8 text: 2; files that are too large or not permitted: 1]"
    assert expected == await bench.text("search_files", pattern="needle")


async def test_long_lines_are_cut_around_the_match(bench: Bench) -> None:
    """A minified file is one line."""
    bench.put("a.js", "x" * 5_000_000 + "needle" + "y" * 5_000_000)
    text = await bench.text("search_files", pattern="needle")
    assert len(text) < 500
    assert "...xxxx" in text
    assert "needleyyyy" in text


async def test_many_matches_end_with_a_word(bench: Bench) -> None:
    """200 are shown."""
    bench.put("a.txt", "needle\n" * 1_000)
    lines = (await bench.text("search_files", pattern="needle")).splitlines()
    assert 201 == len(lines)
    assert "[the first 200 matches; narrow the pattern, the path or the glob]" == lines[-1]
    bench.put("a.txt", "needle\n" * 200)
    assert 200 == len((await bench.text("search_files", pattern="needle")).splitlines())


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "(?P<a>x)(?P<a>y)", "a{2,1}", "\\", "(?<=a+)b", "(" * 500])
async def test_pattern_that_is_none_is_told(bench: Bench, pattern: str) -> None:
    """In the words of Python, with what to do."""
    assert "is no regular expression of Python" in await bench.refusal("search_files", pattern=pattern)


BOMBS = ["(a+)+b", "(a|a)*b", "(a|aa)+$b", "(.*a){25}b", "((a*)*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$"]


@pytest.mark.parametrize("pattern", BOMBS)
async def test_pattern_without_end_is_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """It takes its own interpreter's time; the answer says where it was."""
    monkeypatch.setattr(_programs, "SEARCH_SECONDS", 0.5)
    bench.put("a.txt", "b\n")
    bench.put("evil.txt", "a" * 60 + "!\n")
    with trio.fail_after(10):
        text = await bench.text("search_files", pattern=pattern)
    assert "[stopped after 0.5 s, at evil.txt; a pattern such as (a+)+ never ends]" in text


@pytest.mark.parametrize("pattern", ["((a{9999}){9999}){9999}", "(?:a?){60000}a{60000}", "a{4294967294}", "x" * 1_000])
async def test_pattern_that_wants_much_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """With an answer of some kind, in bounded time and memory."""
    monkeypatch.setattr(_programs, "SEARCH_SECONDS", 1.0)
    bench.put("a.txt", "a" * 100_000)
    with trio.fail_after(15):
        assert await bench.text("search_files", pattern=pattern)


async def test_search_that_dies_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed from outside, or with nothing to say."""
    monkeypatch.setattr(_programs, "SEARCH", "import os; os.kill(os.getpid(), 9)")
    assert "the search ended with -9. Next: search for something simpler" in await bench.refusal(
        "search_files", pattern="x"
    )


async def test_search_program_has_no_third_party(bench: Bench) -> None:
    """It starts in an interpreter that has the standard library alone."""
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; sys.path.insert(0, sys.argv[1])\n"
    )
    code += "import bare, bare._search; print(sorted({'attrs', 'trio', 'fairlead'} & set(sys.modules)))"
    program = Program([interpreter(), "-I", "-S", "-c", code, str(_programs.HERE)], str(bench.root), 30, 10_000, 10_000)
    ran = await run(program)
    assert (0, "[]\n") == (ran.status, ran.output.text())
