"""What programs write, how they end, and that nothing of them is left."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from fairlead import ToolCall
from fairlead.errors import ToolError
from fairlead.testing import FakeToolContext
from fairlead_workbench._running import PASSED_ON

from .calling import Bench


def is_alive(pid: int) -> bool:
    """Not ended, and not a zombie that only waits to be waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(pid: int) -> bool:
    with trio.move_on_after(5):
        while is_alive(pid):  # noqa: ASYNC110  # no event tells of a process that is not ours
            await trio.sleep(0.01)  # real time: another process ends
    return not is_alive(pid)


SHELL = {
    "echo out; echo err >&2; echo out again": "out\nerr\nout again",
    "exit 3": "[exit status 3]",
    "echo before; false": "before\n[exit status 1]",
    "true": "(no output)",
    "kill -9 $$": "[ended by signal 9 (SIGKILL); perhaps it used more memory than it may]",
    "kill -SEGV $$": "[ended by signal 11 (SIGSEGV)]",
    "cat; echo end": "end",
    "printf 'no end of line'": "no end of line",
    "printf 'a\\r\\nb\\rc'": "a\nb\nc",
    "printf '\\377\\000\\033[31m\\342\\200\\256\\303\\274'": "\\xff\\x00\\x1b[31m\u202eü",
    "echo one \\\n  two": "one two",
    "exec >&- 2>&-; exit 4": "[exit status 4]",
    "cd / && pwd": "/",
    "cat <<END\nhere\nEND": "here",
}


@pytest.mark.parametrize(("command", "expected"), SHELL.items())
async def test_shell_gives_output_and_ending(bench: Bench, command: str, expected: str) -> None:
    """Both streams in their order, and how it ended where that is not well."""
    assert expected == await bench.text("shell", command=command)


PYTHON = {
    "6 * 7": "42",
    "x = 6\nx * 7": "42",
    "print('a'); 'b'": "a\n'b'",
    "None": "(no output)",
    "x = 1": "(no output)",
    "import sys; print('e', file=sys.stderr); print('o')": "e\no",
    "import sys; sys.exit(7)": "[exit status 7]",
    "exit('words')": "words\n[exit status 1]",
    "input()": 'Traceback (most recent call last):\n  File "<python>", line 1, in <module>\n    input()\n'
    "EOFError: EOF when reading a line\n[exit status 1]",
    "1 +": '  File "<python>", line 1\n    1 +\n       ^\nSyntaxError: invalid syntax\n[exit status 1]',
    "def f(x: undefined): pass": "NameError",
    "import os; os._exit(5)": "[exit status 5]",
    "import os; os.abort()": "[ended by signal 6 (SIGABRT)]",
    "import sys; sys.modules['__main__'].__dict__ is globals()": "True",
    "'\\ud800'": "'\\ud800'",
    "print('\\ud800')": "\\ud800",
    "# \u2028 only a comment": "(no output)",
    "def f(): f()\nf()": "RecursionError",
    "x = 1; del __name__; x": "1",
    "class C:\n    def __repr__(self): 1/0\nC()": "line 2, in __repr__",
}


@pytest.mark.parametrize(("code", "expected"), PYTHON.items())
async def test_python_is_a_notebook(bench: Bench, code: str, expected: str) -> None:
    """The last value is shown; tracebacks have the lines of the program and none of ours."""
    text = await bench.text("python", code=code)
    assert expected in text
    assert "_notebook" not in text
    assert "ast.py" not in text


async def test_python_shows_where_it_failed(bench: Bench) -> None:
    """With the line itself, as from a file."""
    text = await bench.text("python", code="def half(n):\n    return n / 0\n\nhalf(3)")
    assert 'File "<python>", line 4, in <module>\n    half(3)\n  File "<python>", line 2, in half\n' in text
    assert text.endswith("ZeroDivisionError: division by zero\n[exit status 1]")


async def test_python_imports_what_lies_in_the_workspace_and_only_last(bench: Bench) -> None:
    """A file that is named like a module of the library does not take its place."""
    bench.put("own.py", "value = 5\n")
    bench.put("json.py", "raise SystemExit('the wrong one')\n")
    assert "5" == await bench.text("python", code="import json, own\nown.value")


async def test_programs_start_with_an_environment_of_their_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours is in it, but how the network is reached."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    text = await bench.text("shell", command="env; pwd")
    names = {line.partition("=")[0] for line in text.splitlines() if "=" in line}
    own = {"PATH", "HOME", "LANG", "TERM", "FAIRLEAD_CALL"}
    assert own | set(PASSED_ON) & set(os.environ) == names - {"PWD", "SHLVL", "_", "OLDPWD"}
    assert "HTTPS_PROXY" in names
    assert text.endswith(str(bench.root))


async def test_no_descriptor_of_ours_is_inherited(bench: Bench) -> None:
    """Standard input, output and error, and that of the listing itself."""
    kept = os.open(bench.root, os.O_RDONLY)
    os.set_inheritable(kept, True)
    try:
        assert "0\n1\n2\n3" == await bench.text("shell", command="ls /proc/self/fd")
    finally:
        os.close(kept)


async def test_time_is_out(bench: Bench) -> None:
    """What it wrote until then is there, and what to ask for."""
    result = await bench.result("shell", command="echo begun; sleep 60", seconds=0.3)
    assert ("timeout", "begun\n[stopped after 0.3 s; ask for more with seconds, at most 600]") == (
        result.error,
        result.text,
    )


async def test_table_bounds_what_a_call_may_ask_for(tmp_path: Path) -> None:
    """And nothing more is offered where there is no more."""
    bench = Bench(tmp_path, max_seconds=0.2)
    result = await bench.result("python", code="while True: pass", seconds=600)
    assert ("timeout", "[stopped after 0.2 s]") == (result.error, result.text)


LEFT_BEHIND = {
    "in the background": "sleep 1000 & echo $!",
    "that ignores signals": "(trap '' HUP TERM INT; sleep 1000) & echo $!",
    "with job control": "set -m; sleep 1000 & echo $!",
    "in a session of its own": "setsid sh -c 'echo $$; exec sleep 1000' & wait $!; true",
    "that is a daemon": f"{sys.executable} -c 'import os,sys\nif os.fork(): os._exit(0)\nos.setsid()\n"
    'if os.fork(): os._exit(0)\nprint(os.getpid(),flush=True)\nos.execlp("sleep","sleep","1000")\'; sleep 0.5',
    "that is stopped": "sleep 1000 & kill -STOP $!; echo $!",
}


@pytest.mark.parametrize("command", LEFT_BEHIND.values(), ids=LEFT_BEHIND.keys())
async def test_process_that_is_left_is_killed(bench: Bench, command: str) -> None:
    """The call does not wait for it, although it holds the output open."""
    with trio.fail_after(10):
        text = await bench.text("shell", command=command, seconds=1)
    pid = int(text.split()[0])
    assert await gone(pid)


async def test_child_that_keeps_the_output_open_delays_nobody(bench: Bench) -> None:
    """It has left the group and is not in the way of the call's end."""
    began = trio.current_time()
    assert "done" == await bench.text("shell", command="setsid sleep 1000 & echo done")
    assert trio.current_time() - began < 5


async def test_cancelled_call_leaves_no_process(bench: Bench) -> None:
    """Cancelled in the middle, when the program has told that it runs."""
    started = trio.Event()

    class Watcher(FakeToolContext):
        async def progress(self, detail: str) -> None:
            await super().progress(detail)
            started.set()

    bench.context = Watcher()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await bench.text("shell", command="echo $$; sleep 1000")

        nursery.start_soon(run)
        with trio.fail_after(10):
            await started.wait()
        pid = int(bench.context.told[0])
        assert is_alive(pid)
        nursery.cancel_scope.cancel()
    assert await gone(pid)


async def test_progress_is_the_last_line(bench: Bench) -> None:
    """Clean, at most 200 characters, at most once a second, and only where it is new."""
    command = (
        "printf '10%%\\r20%%\\r\\033[1m30%%\\033[0m\\n'; sleep 1.3; printf 'x%.0s' $(seq 900); sleep 1; echo; sleep 0.8"
    )
    await bench.text("shell", command=command)
    assert ["30%", "x" * 200] == bench.context.told


async def test_flood_is_cut_in_bounded_memory(bench: Bench) -> None:
    """Beginning and end are there; the host keeps no more than those."""
    command = "echo first; yes | head -c 40000000; echo last"
    text = await bench.text("shell", command=command)
    assert text.startswith("first\ny\ny\n")
    assert text.endswith("y\nlast")
    assert "[... 39,900,011 bytes left out ...]" in text
    assert len(text) < 101_000


async def test_endless_output_is_stopped(bench: Bench) -> None:
    """Long before the disk, the memory or the time is full."""
    with trio.fail_after(20):
        result = await bench.result("shell", command="yes; echo never")
    assert "failed" == result.error
    assert result.text.endswith("[stopped: it wrote more than 67,108,864 bytes; let it write into a file, or less]")
    assert len(result.text) < 101_000


async def test_one_endless_line_is_bounded(bench: Bench) -> None:
    """Also its progress, and with characters of several bytes at both cuts."""
    text = await bench.text("python", code="print('ü€' * 200_000)")
    assert set("ü€") == set(text[:1000]) == set(text[-1000:])
    assert "bytes left out" in text


async def test_command_that_is_too_long_is_refused(bench: Bench) -> None:
    """With what to do instead; the system's own words would help nobody."""
    assert "write it into a file" in await bench.refusal("shell", command="#" + "ü" * 70_000)
    assert "NUL" in await bench.refusal("shell", command="echo a\0b")
    assert "half a character" in await bench.refusal("shell", command="echo \ud800")
    assert "half a character" in await bench.refusal("python", code="'\ud800'")


async def test_long_program_and_nul_in_it(bench: Bench) -> None:
    """A program goes through a pipe, so that no limit of a command line holds."""
    assert "700000" == await bench.text("python", code="len('''" + "x" * 700_000 + "''')")
    assert "null bytes" in await bench.text("python", code="a = '\0'")


async def test_program_that_never_reads_its_code(bench: Bench) -> None:
    """Its interpreter may be gone before all of the code is written: no error of ours."""
    assert "[exit status 3]" == await bench.text("python", code="import os; os._exit(3)\n" + "#" * 900_000)


async def test_workspace_that_is_gone_is_said(bench: Bench) -> None:
    """Not as an error of the program."""
    bench.root.rmdir()
    for tool, arguments in (("shell", {"command": "true"}), ("list_files", {}), ("search_files", {"pattern": "x"})):
        assert "cannot be opened: No such file" in await bench.refusal(tool, **arguments)


async def test_tool_that_is_not_offered_is_not_run(tmp_path: Path) -> None:
    """Whatever the caller believes."""
    bench = Bench(tmp_path, tools=frozenset({"read_file"}))
    with pytest.raises(ToolError, match="no tool 'shell'"):
        await bench.worker.call(ToolCall("c", "shell", {"command": "true"}), bench.context)
