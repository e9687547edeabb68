"""Ordinary calls in a real sandbox: results, streams, services, files, records, cancellation."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import trio

from fairlead import Principal, ToolResult
from fairlead.errors import FairleadError, ToolError
from fairlead.wire import structure
from fairlead_sandbox.errors import SandboxLost, Timeout
from fairlead_sandbox.runner import Watch, Work

from .inside_calls import INTERRUPTED, Seen, lost, run
from .inside_namespace import IDENTITIES, sandbox


async def test_sandbox_says_what_it_is_and_what_its_tools_are(tmp_path: Path) -> None:
    """Separate users, no root, a record; the specs come from inside and are the same each time."""
    async with sandbox(tmp_path) as box:
        facts = box.runner.facts
        assert (True, False, True, True) == tuple(facts[key] for key in ("separate", "root", "recorded", "counted"))
        assert [] == facts["writable"]
        workers = await box.runner.describe()
        assert box.runner.workers == workers
        assert [("probes", 0, "probes")] == [(each["table"], each["worker"], each["name"]) for each in workers]
        assert [("run", "once"), ("echo", "read")] == [(spec["name"], spec["effect"]) for spec in workers[0]["specs"]]


async def test_three_processes_have_three_users_and_no_capability(tmp_path: Path) -> None:
    """And none of them can get a privilege again."""
    code = """
import json
found = {}
for pid in (1, os.getppid(), os.getpid()):
    lines = dict(line.split(':', 1) for line in open(f'/proc/{pid}/status').read().splitlines())
    found[pid] = [lines['Uid'].split(), lines['CapPrm'].strip(), lines['CapEff'].strip(), lines['NoNewPrivs'].strip()]
return json.dumps(list(found.values()))
"""
    async with sandbox(tmp_path) as box:
        found = json.loads((await run(box, code)).value)
    supervisor, zygote, call = (str(number) for number in IDENTITIES_OF)
    users = [[supervisor, supervisor, call, supervisor], [zygote, call, zygote, call], [call] * 4]
    assert [[uid, "0" * 16, "0" * 16, "1"] for uid in users] == found


IDENTITIES_OF = (IDENTITIES.supervisor, IDENTITIES.zygote, IDENTITIES.call)


async def test_text_and_results_come_back(tmp_path: Path) -> None:
    """As text, or as the JSON of a `ToolResult`; with what was used."""
    async with sandbox(tmp_path) as box:
        assert "äöü\0" == (await run(box, "return 'äöü\\0'")).value
        outcome = await run(box, "return ToolResult(call.id, call.tool, (Text('a'), Text('b')))", "one")
        assert "a\nb" == structure(outcome.value, ToolResult).text
        assert "one" == structure(outcome.value, ToolResult).call
        spun = await run(box, "import time\nuntil = time.process_time() + 0.2\nwhile time.process_time() < until: pass")
        assert 0.2 <= spun.usage.cpu_seconds < 0.5
        assert 0.2 <= spun.usage.wall_seconds < 2
        large = await run(box, "x = bytearray(b'x') * (100 << 20)\nreturn str(len(x))")
        assert 100 << 20 <= large.usage.peak_bytes < 200 << 20


async def test_large_results_arrive_whole(tmp_path: Path) -> None:
    """More than pipes hold, up to the limit; above it the tool's fault is told."""
    async with sandbox(tmp_path) as box:
        assert "x" * 3_000_000 == (await run(box, "return 'x' * 3_000_000")).value
        outcome = await run(box, "return 'x' * 5000", result_bytes=4096)
        assert "at most 4096 are allowed" in str(outcome.error)


async def test_arguments_may_be_large(tmp_path: Path) -> None:
    """They go to the call alone; the zygote does not read them."""
    async with sandbox(tmp_path) as box:
        order = Work("1", "probes", "echo", {"text": "y" * 3_000_000}, effect="read")
        assert 3_000_000 == len((await box.runner.call(order)).value)


async def test_what_is_printed_is_streamed_and_kept(tmp_path: Path) -> None:
    """In order for each stream, while the call runs, with bytes that are no text replaced."""
    seen = Seen()
    code = "import sys\nprint('one')\nprint('two', file=sys.stderr)\nos.write(1, b'\\xff\\xe2\\x82')"
    code += "\nos.write(1, b'\\xac')"
    async with sandbox(tmp_path) as box:
        outcome = await run(box, code, watch=seen)
    assert ("one\n�€", "two\n") == (outcome.stdout, outcome.stderr)
    assert "one\n�€" == "".join(text for stream, text in seen.pieces if stream == "stdout")


async def test_output_comes_while_the_call_runs(tmp_path: Path) -> None:
    """Whoever watches need not wait for the end."""
    seen = Seen()
    async with sandbox(tmp_path) as box, trio.open_nursery() as nursery:
        nursery.start_soon(run, box, "print('now')\nawait trio.sleep(99)", "", seen)
        with trio.fail_after(5):
            await seen.first.wait()
        nursery.cancel_scope.cancel()
    assert [("stdout", "now\n")] == seen.pieces


async def test_progress_is_told_and_cut(tmp_path: Path) -> None:
    """At most 200 characters."""
    seen = Seen()
    async with sandbox(tmp_path) as box:
        await run(box, "await context.progress('half'); await context.progress('x' * 500)", watch=seen)
    assert ["half", "x" * 200] == seen.details


async def test_tool_asks_the_host_for_recall(tmp_path: Path) -> None:
    """The scope is the host's to choose; what comes back are notes."""
    seen = Seen([{"text": "blue", "scope": "s"}])
    code = "notes = await context.recall.search('other', 'colour', 3)\nreturn notes[0].text"
    async with sandbox(tmp_path) as box:
        outcome = await run(box, code, watch=seen, recall=True)
        assert ("blue", None) == (outcome.value, outcome.error)
        assert [("recall.search", {"query": "colour", "limit": 3})] == seen.asked
        assert "None" == (await run(box, "return str(context.recall)")).value


async def test_refused_service_is_an_error_of_the_tool(tmp_path: Path) -> None:
    """In the host's words."""
    async with sandbox(tmp_path) as box:
        watch = Seen(FairleadError("not today"))
        outcome = await run(box, "await context.recall.erase('s')", watch=watch, recall=True)
        assert "raised FairleadError: not today" in str(outcome.error)
        assert box.runner.usable


async def test_call_knows_who_asks_and_when(tmp_path: Path) -> None:
    """Session, principal and the app's clock."""
    code = "return f'{context.session} {context.principal.id} {context.principal.roles} {int(context.now())}'"
    async with sandbox(tmp_path) as box:
        principal = Principal("telegram:1", roles=("admin",))
        outcome = await run(box, code, session="s1", principal=principal, now=1e9)
        assert "s1 telegram:1 ('admin',) 1000000000" == outcome.value


async def test_environment_is_what_is_given(tmp_path: Path) -> None:
    """Nothing of the host's or the supervisor's."""
    async with sandbox(tmp_path, changes={"environment": {"FAIRLEAD_A": "1"}}) as box:
        code = "return repr(sorted(os.environ.items()))"
        outcome = await run(box, code, environment={"FAIRLEAD_B": "2"})
        names = ["FAIRLEAD_A", "FAIRLEAD_B", "HOME", "LANG", "PATH"]
        assert names == [name for name, _ in eval(outcome.value)]  # noqa: S307  # a repr that the test asked for


async def test_workspace_stays_and_everything_else_goes(tmp_path: Path) -> None:
    """Also into the next sandbox; it belongs to the call's user."""
    async with sandbox(tmp_path) as box:
        await run(box, "open('kept', 'w').write('k'); open('/tmp/gone', 'w'); open('/dev/shm/gone', 'w')")
    async with sandbox(tmp_path) as box:
        assert "k" == (await run(box, "return open('kept').read()")).value
    assert "k" == (tmp_path / "work" / "kept").read_text()
    assert IDENTITIES.call == (tmp_path / "work" / "kept").stat().st_uid


async def test_workspace_of_another_container_changes_hands(tmp_path: Path) -> None:
    """Its files belong to whoever runs now, whatever range of users it was made with; links are not followed."""
    made = tmp_path / "work" / "a" / "b"
    made.mkdir(parents=True)
    (made / "file").write_text("x")
    (made / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").write_text("o")
    for path in (made, made / "file", made.parent):
        os.chown(path, 4242, 4242)
    made.parent.chmod(0o700)
    async with sandbox(tmp_path) as box:
        assert "x" == (await run(box, "return open('a/b/file').read()")).value
    assert 0 == (tmp_path / "outside").stat().st_uid


FILES = [
    ("report.pdf", "open('report.pdf', 'wb').write(b'pdf')", "report.pdf", ""),
    ("below", "os.makedirs('a/b'); open('a/b/c', 'wb').write(b'pdf')", "a/b/c", ""),
    ("link", "os.symlink('/etc/passwd', 'l')", "l", "Too many levels of symbolic links"),
    ("link to a directory", "os.symlink('/etc', 'd')", "d/passwd", "Not a directory"),
    ("pipe", "os.mkfifo('f')", "f", "no regular file"),
    ("socket", "import socket\nsocket.socket(1).bind('s')", "s", "No such device"),
    ("directory", "os.mkdir('d')", "d", "no regular file"),
    ("device", "", "../../dev/zero", "no path inside"),
    ("absolute", "", "/etc/passwd", "no path inside"),
    ("upwards", "", "../x", "no path inside"),
    ("second name", "open('o', 'w'); os.link('o', 'h')", "h", "no regular file"),
    ("large", "os.truncate(os.open('big', os.O_CREAT | os.O_RDWR), 1 << 26)", "big", "more than"),
    ("missing", "", "nothing", "No such file"),
    ("empty", "", "", "no path inside"),
]


@pytest.mark.parametrize(("make", "path", "says"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
async def test_only_regular_files_of_the_workspace_leave(tmp_path: Path, make: str, path: str, says: str) -> None:
    """A part that names one carries its bytes; anything else is a fault of the tool's."""
    part = f"File('r', 'application/pdf', url='workspace:' + {path!r})"
    code = f"{make}\nreturn ToolResult(call.id, call.tool, ({part},))"
    async with sandbox(tmp_path) as box:
        outcome = await run(box, code)
        if says:
            assert ToolError is type(outcome.error), outcome
            assert says in str(outcome.error)
        else:
            (part,) = structure(outcome.value, ToolResult).parts  # type: ignore[assignment]  # the part, not its code
            assert (b"pdf", None) == (part.data, part.url)  # type: ignore[attr-defined]  # it is a file
        assert box.runner.usable


async def test_way_out_is_on_the_loopback_of_each_call(tmp_path: Path) -> None:
    """What is sent to the proxy's port comes out of the socket on the host; the variables name the port."""
    (tmp_path / "egress").mkdir()
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(tmp_path / "egress" / "socket"))
    (tmp_path / "egress" / "socket").chmod(0o777)
    listener.listen()

    async def serve() -> None:
        while True:
            connection, _ = await listener.accept()
            await connection.send(b"host:" + await connection.recv(100))
            connection.close()

    code = """
import socket
address = os.environ['HTTPS_PROXY'].removeprefix('http://').split(':')
with socket.create_connection((address[0], int(address[1]))) as s:
    s.sendall(b'hello')
    return s.recv(100).decode()
"""
    changes = {"egress": "/mnt/egress/socket"}
    with listener:
        async with sandbox(tmp_path, paths={"/mnt/egress": tmp_path / "egress"}, changes=changes) as box:
            box.nursery.start_soon(serve)
            assert ["host:hello"] * 2 == [(await run(box, code)).value for _ in range(2)]


# -- cancellation


async def test_cancelled_call_stops_by_itself_and_the_sandbox_goes_on(tmp_path: Path) -> None:
    """The tool's own cleanup runs."""
    seen = Seen()
    code = "print('in')\ntry: await trio.sleep(99)\nfinally: open('cleaned', 'w')"
    async with sandbox(tmp_path) as box:
        with trio.move_on_after(9) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, box, code, "", seen)
                await seen.first.wait()
                began = trio.current_time()
                nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 0.3
        assert not scope.cancelled_caught
        assert box.runner.usable
        assert "['cleaned']" == (await run(box, "return str(os.listdir())")).value


async def test_cancelled_call_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    """After 0.3 s, and the sandbox goes on."""
    seen = Seen()
    async with sandbox(tmp_path) as box:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, box, "print('in')\nwhile True: pass", "", seen)
            await seen.first.wait()
            began = trio.current_time()
            nursery.cancel_scope.cancel()
        assert 0.25 < trio.current_time() - began < 1
        assert box.runner.usable
        assert "done" == (await run(box, "pass")).value


async def test_watcher_that_fails_ends_the_call_and_not_the_sandbox(tmp_path: Path) -> None:
    """The fault is the caller's own."""

    class Broken(Watch):
        async def output(self, stream: str, text: str) -> None:
            raise LookupError(text)

    async with sandbox(tmp_path) as box:
        with pytest.raises(LookupError, match="boom"):
            await run(box, "print('boom')\nawait trio.sleep(99)", watch=Broken())
        assert "done" == (await run(box, "pass")).value


async def test_slow_watcher_holds_the_call_and_not_its_limit(tmp_path: Path) -> None:
    """Nothing grows without end meanwhile, and the time goes on."""

    class Slow(Watch):
        waited = False

        async def output(self, stream: str, text: str) -> None:
            if not self.waited:
                self.waited = True
                await trio.sleep(0.8)  # real time: the other side is a process

    async with sandbox(tmp_path) as box:
        code = "while True: os.write(1, b'x' * 4096)"
        outcome = await run(box, code, watch=Slow(), seconds=0.5, output_bytes=10**9)
        assert Timeout is type(outcome.error)
        assert outcome.usage.wall_seconds < 0.7


# -- once


async def test_repeated_call_is_answered_from_the_record(tmp_path: Path) -> None:
    """By the same sandbox and by the next one; it has no second effect."""
    code = "open('count', 'a').write('x')\nreturn ToolResult(call.id, call.tool, (Text('done'),))"
    async with sandbox(tmp_path) as box:
        first = await run(box, code, "c1", effect="once")
        again = await run(box, code, "c1", effect="once")
    async with sandbox(tmp_path) as box:
        later = await run(box, code, "c1", effect="once")
        assert "x" == (await run(box, "return open('count').read()")).value
    assert (False, True, True) == (first.repeated, again.repeated, later.repeated)
    assert first.value == again.value == later.value
    assert first.usage == later.usage


async def test_failed_call_is_answered_from_the_record_too(tmp_path: Path) -> None:
    """It may have had its effect before its time was out."""
    async with sandbox(tmp_path) as box:
        code = "open('count', 'a').write('x')\nwhile True: pass"
        assert Timeout is type((await run(box, code, "c1", effect="once", seconds=0.3)).error)
        again = await run(box, code, "c1", effect="once", seconds=0.3)
        assert (Timeout, True) == (type(again.error), again.repeated)
        assert "x" == (await run(box, "return open('count').read()")).value


async def test_call_that_reads_runs_again(tmp_path: Path) -> None:
    """Nothing of it is kept."""
    async with sandbox(tmp_path) as box:
        for _ in range(2):
            assert not (await run(box, "pass", "c1")).repeated
        assert [] == list(box.record.iterdir())


async def test_interrupted_call_is_unknown(tmp_path: Path) -> None:
    """It was started, and its sandbox died."""
    seen = Seen()
    async with sandbox(tmp_path) as box, trio.open_nursery() as nursery:
        nursery.start_soon(lost, box, seen)
        await seen.first.wait()
        await box.kill()
    async with sandbox(tmp_path) as box:
        outcome = await run(box, INTERRUPTED, "c1", effect="once")
        assert (SandboxLost, True) == (type(outcome.error), outcome.repeated)
        assert "not known" in str(outcome.error)
        assert box.runner.usable


async def test_id_of_another_call_is_refused(tmp_path: Path) -> None:
    """A mistake of the host's, which must not be answered with the other one's result."""
    async with sandbox(tmp_path) as box:
        await run(box, "return 'a'", "c1", effect="once")
        outcome = await run(box, "return 'b'", "c1", effect="once")
        assert "used before, for another tool or other arguments" in str(outcome.error)
        assert None is outcome.value


async def test_record_that_lost_its_end_to_power_loss_is_unknown(tmp_path: Path) -> None:
    """Half of a frame is no end."""
    async with sandbox(tmp_path) as box:
        await run(box, "return 'a'", "c1", effect="once")
        (file,) = box.record.iterdir()
        file.write_bytes(file.read_bytes()[:-3])
        assert SandboxLost is type((await run(box, "return 'a'", "c1", effect="once")).error)
