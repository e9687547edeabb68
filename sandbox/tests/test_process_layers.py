"""The parts of which a plugin process is made: the filter, the cgroup, the interpreter, the plan, the disk."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from pathlib import Path

import pytest
import trio
from attrs import evolve

from fairlead_sandbox.errors import EngineUnavailable, SandboxError, SandboxLost
from fairlead_sandbox.process import Machine, ProcessLimits, launch, look_at_machine
from fairlead_sandbox.process._cgroup import find_parents, make_cgroup, sweep
from fairlead_sandbox.process._disk import measure_disk
from fairlead_sandbox.process._interpreter import find_interpreter
from fairlead_sandbox.process._plan import USERS, make_plan
from fairlead_sandbox.process._seccomp import ARCHITECTURES, Allowance, assemble
from fairlead_sandbox.process._syscalls import NUMBERS

from .process_guests import guest, guest_spec, require, without_bubblewrap

MEGABYTE = 1 << 20
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000


@pytest.fixture(scope="module")
def machine() -> Machine:
    return trio.run(look_at_machine)


# -- the filter, run by an interpreter of the few instructions that it has (kernel, networking/filter.rst)


def judge(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What the kernel would do with a call."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    code = [struct.unpack_from("HBBI", program, place) for place in range(0, len(program), 8)]
    at, value = 0, 0
    while True:
        operation, yes, no, constant = code[at]
        at += 1
        if operation == 0x20:
            (value,) = struct.unpack_from("<I", data, constant)
        elif operation == 0x54:
            value &= constant
        elif operation == 0x06:
            return int(constant)
        else:
            tests = {
                0x15: value == constant,
                0x25: value > constant,
                0x35: value >= constant,
                0x45: value & constant != 0,
            }
            at += yes if tests[operation] else no


def judged(architecture: str, name: str, *arguments: int, **allowance: object) -> int:
    program = assemble(architecture, Allowance(**allowance))  # type: ignore[arg-type]  # each test names its own
    return judge(program, ARCHITECTURES[architecture], NUMBERS[architecture][name], *arguments)


architectures = pytest.mark.parametrize("architecture", sorted(NUMBERS))


@architectures
def test_filter_allows_what_is_listed_and_nothing_else(architecture: str) -> None:
    """Every number there is: the listed ones are allowed or looked at, all others refused."""
    program = assemble(architecture, Allowance(subprocesses=True))
    listed = set(NUMBERS[architecture].values())
    allowed = {number for number in range(1000) if judge(program, ARCHITECTURES[architecture], number) == ALLOW}
    assert allowed < listed
    missing = {name for name, number in NUMBERS[architecture].items() if number not in allowed}
    # With nothing but zeros as arguments.
    assert {"clone3", "socket", "socketpair"} == missing
    assert {REFUSE | errno.EPERM} == {
        judge(program, ARCHITECTURES[architecture], number) for number in range(1000) if number not in listed
    }


@architectures
def test_filter_ends_what_calls_in_another_architecture(architecture: str) -> None:
    """Their numbers mean something else."""
    program = assemble(architecture, Allowance())
    assert {KILL} == {judge(program, other, 0) for other in (0x40000003, 0x40000028, 0xC00000F3)}
    if architecture == "x86_64":
        assert REFUSE | errno.EPERM == judge(program, ARCHITECTURES[architecture], 0x40000000 | 39)


@architectures
def test_filter_looks_at_arguments(architecture: str) -> None:
    """Families of sockets, flags of clone, pids."""
    unsupported, refused = REFUSE | errno.EAFNOSUPPORT, REFUSE | errno.EPERM
    families = {socket.AF_UNIX: ALLOW, socket.AF_INET: ALLOW, socket.AF_INET6: ALLOW, 16: unsupported, 38: unsupported}
    assert families == {family: judged(architecture, "socket", family) for family in families}
    assert unsupported == judged(architecture, "socket", socket.AF_INET, inet=False)
    assert unsupported == judged(architecture, "socket", socket.AF_UNIX, unix=False)
    stream = socket.SOCK_STREAM | 0o2004000
    assert ALLOW == judged(architecture, "socketpair", socket.AF_UNIX, stream, unix=False)
    assert unsupported == judged(architecture, "socketpair", socket.AF_INET, stream)
    assert ALLOW == judged(architecture, "clone", 0x003D0F00)
    assert refused == judged(architecture, "clone", 17)
    assert ALLOW == judged(architecture, "clone", 17, subprocesses=True)
    assert refused == judged(architecture, "clone", 0x10000000 | 0x00010000, subprocesses=True)
    assert REFUSE | errno.ENOSYS == judged(architecture, "clone3")
    assert refused == judged(architecture, "ioctl", 0, 0x5412)
    assert ALLOW == judged(architecture, "ioctl", 0, 0x5401)
    assert ALLOW == judged(architecture, "prlimit64", 0)
    assert refused == judged(architecture, "prlimit64", 1)
    assert ALLOW == judged(architecture, "kill", 1234)
    assert refused == judged(architecture, "kill", 1234, only_pid=99)
    assert ALLOW == judged(architecture, "kill", 99, only_pid=99)
    assert refused == judged(architecture, "setsid", only_pid=99)
    assert refused == judged(architecture, "memfd_create", memfd=False)
    assert refused == judged(architecture, "fchmodat", metadata=False)
    assert ALLOW == judged(architecture, "fcntl", 3, 8)
    assert refused == judged(architecture, "fcntl", 3, 8, only_pid=99)
    assert ALLOW == judged(architecture, "fcntl", 3, 4, only_pid=99)
    assert ALLOW == judged(architecture, "socketpair", socket.AF_UNIX, socket.SOCK_DGRAM)
    assert refused == judged(architecture, "socketpair", socket.AF_UNIX, socket.SOCK_DGRAM | 0o2000000, unix=False)


@architectures
def test_filter_is_short_enough_for_the_kernel(architecture: str) -> None:
    """At most 4096 instructions (BPF_MAXINSNS), each of 8 bytes."""
    program = assemble(architecture, Allowance(only_pid=1, memfd=False, metadata=False))
    assert 0 == len(program) % 8
    assert len(program) // 8 < 1000


# -- the cgroup


def write_tree(root: Path, **files: str) -> None:
    for name, text in files.items():
        place = root / name.replace("__", "/").replace("_dot_", ".")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


def test_parents_are_found_where_controllers_are_handed_on(tmp_path: Path) -> None:
    """Version 2: the own cgroup must already hand memory and pids on; version 1: a tree for each."""
    own = tmp_path / "own"
    own.write_text("0::/user.slice/fairlead.scope\n")
    place = tmp_path / "user.slice" / "fairlead.scope"
    place.mkdir(parents=True)
    assert {} == find_parents(tmp_path, own)
    (place / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert {"memory": place, "pids": place} == find_parents(tmp_path, own)
    (place / "cgroup.subtree_control").write_text("cpu\n")
    assert {} == find_parents(tmp_path, own)
    own.write_text("9:name=systemd:/\n8:pids:/a\n4:memory:/b/c\n1:cpu,cpuacct:/\n0::/\n")
    (tmp_path / "pids" / "a").mkdir(parents=True)
    assert {} == find_parents(tmp_path, own)
    (tmp_path / "memory" / "b" / "c").mkdir(parents=True)
    assert {"memory": tmp_path / "memory/b/c", "pids": tmp_path / "pids/a"} == find_parents(tmp_path, own)
    assert {} == find_parents(tmp_path, tmp_path / "none")


def test_cgroup_of_version_2_is_given_its_limits(tmp_path: Path) -> None:
    """The words of that version, in a directory that is not a kernel's: what is written, and what is read."""
    made = make_cgroup(dict.fromkeys(("memory", "pids"), tmp_path), ProcessLimits(memory_bytes=1000, processes=7))
    assert made is not None
    (place,) = set(made.places.values())
    written = {file.name: file.read_text() for file in place.iterdir()}
    assert {"memory.max": "1000", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "7"} == written
    assert 1000 == made.memory_limit()
    assert not made.out_of_memory()
    write_tree(place, memory_dot_events="low 0\noom 1\noom_kill 1\n", cgroup_dot_procs="")
    assert made.out_of_memory()
    assert [] == made.pids()


def test_cgroup_that_cannot_be_made_is_none(tmp_path: Path) -> None:
    """Where the directories are not there, or nobody may write in them."""
    assert make_cgroup({}, ProcessLimits()) is None
    assert make_cgroup(dict.fromkeys(("memory", "pids"), tmp_path / "none"), ProcessLimits()) is None


def test_cgroups_that_a_killed_host_left_are_swept(tmp_path: Path) -> None:
    """Old and empty ones; a young one may be another host's, and a full one is in use."""
    for name in ("fairlead-plugin-old", "fairlead-plugin-young", "fairlead-plugin-used", "another"):
        (tmp_path / name).mkdir()
    (tmp_path / "fairlead-plugin-used" / "a file stands for a process").touch()
    for name in ("fairlead-plugin-old", "fairlead-plugin-used", "another"):
        os.utime(tmp_path / name, (1, 1))
    sweep({"memory": tmp_path, "pids": tmp_path})
    assert ["another", "fairlead-plugin-used", "fairlead-plugin-young"] == sorted(
        place.name for place in tmp_path.iterdir()
    )


# -- the interpreter and the plan


def test_interpreter_shows_its_library_and_hides_packages() -> None:
    """The one that runs the tests, and another that is asked."""
    mine = find_interpreter(sys.executable)
    assert Path(sys.executable).resolve() == mine.program
    assert Path(os.__file__).parent in mine.read
    assert not any("site-packages" in str(path) for path in mine.read)
    assert all(path.name in ("site-packages", "dist-packages") for path in mine.hidden)
    assert all(not str(path).startswith(sys.prefix) for path in mine.read) or sys.prefix == sys.base_prefix
    with pytest.raises(ValueError, match="is no Python"):
        find_interpreter("/bin/false")
    with pytest.raises(OSError, match="no-such"):
        find_interpreter("/no-such-python")


async def test_packages_of_the_host_cannot_be_imported(machine: Machine, tmp_path: Path) -> None:
    """Its own environment is all that a plugin has."""
    require(machine, bubblewrap=True)
    async with guest(guest_spec(tmp_path / "work"), machine) as running:
        for name in ("trio", "pytest", "pip", "fairlead"):
            with pytest.raises(SandboxError, match="ModuleNotFoundError"):
                await running.do(f"import {name}")
        packages = [str(path) for path in find_interpreter(sys.executable).hidden]
        found = await running.do(f"import os\nvalue = [os.listdir(path) for path in {packages} if os.path.isdir(path)]")
        assert [] == [name for names in found for name in names]


async def test_user_belongs_to_the_directory(machine: Machine, tmp_path: Path) -> None:
    """The same each time, so that it finds its files again; another plugin has another."""
    require(machine, root=True, bubblewrap=True)
    one = make_plan(guest_spec(tmp_path / "a"), machine)
    again = make_plan(guest_spec(tmp_path / "a"), machine)
    other = make_plan(guest_spec(tmp_path / "b"), machine)
    assert one.user == again.user != other.user
    assert one.user in USERS
    assert one.user == (tmp_path / "a").stat().st_uid


async def test_directory_that_is_a_link_is_refused(machine: Machine, tmp_path: Path) -> None:
    """Somebody else's directory is not given away."""
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(EngineUnavailable, match="is a link"):
        make_plan(guest_spec(tmp_path / "link"), machine)


async def test_hosts_are_promised_to_nobody_who_cannot_reach_them(machine: Machine, tmp_path: Path) -> None:
    """Without bubblewrap the proxy cannot be the only thing that is reached."""
    spec = guest_spec(tmp_path / "work", egress_socket=tmp_path / "egress.sock")
    async with trio.open_nursery() as nursery:
        with pytest.raises(EngineUnavailable, match="apt install bubblewrap"):
            await launch(spec, nursery, without_bubblewrap(machine))


async def test_programs_run_where_they_are_allowed(machine: Machine, tmp_path: Path) -> None:
    """Those of the system; they are as confined as the plugin."""
    require(machine, bubblewrap=True)
    async with guest(guest_spec(tmp_path / "work", subprocesses=True), machine) as running:
        run = "import subprocess\nvalue = subprocess.run({!r}, capture_output=True, text=True).stdout"
        assert "hello\n" == await running.do(run.format(["echo", "hello"]))
        assert "Seccomp:\t2" in await running.do(run.format(["cat", "/proc/self/status"]))
        assert "" == await running.do(run.format(["cat", "/etc/shadow"]))


async def test_libraries_work_behind_the_filter(machine: Machine, tmp_path: Path) -> None:
    """Event loops, threads, databases, TLS, names, locks, pipes, time zones, temporary files."""
    require(machine, bubblewrap=True)
    code = """
import asyncio, concurrent.futures, fcntl, os, select, socket, sqlite3, ssl, tempfile, zoneinfo

async def main():
    await asyncio.sleep(0)
    async def echo(reader, writer):
        writer.write(await reader.read(5)); await writer.drain(); writer.close()
    server = await asyncio.start_server(echo, "localhost", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello"); await writer.drain()
    assert await reader.read(5) == b"hello"
    writer.close()
    server.close()
    return await asyncio.to_thread(lambda: 42)

loop = asyncio.new_event_loop()
value = [loop.run_until_complete(main())]
loop.close()
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    value.append(sum(pool.map(int, "12345")))
database = sqlite3.connect("kept.db")
database.execute("pragma journal_mode=wal")
database.execute("create table if not exists t(x)")
database.commit()
value.append(ssl.create_default_context().verify_mode.name)
value.append(socket.getaddrinfo("localhost", 80, proto=socket.IPPROTO_TCP)[0][4][0])
value.append(str(zoneinfo.ZoneInfo("Europe/Vienna")))
with tempfile.NamedTemporaryFile() as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    value.append(os.path.dirname(file.name))
select.epoll().close()
"""
    async with guest(guest_spec(tmp_path / "work"), machine) as running:
        found = await running.do(code)
    assert [42, 15, "CERT_REQUIRED"] == found[:3]
    assert found[3] in ("127.0.0.1", "::1")
    assert ["Europe/Vienna", "/tmp"] == found[4:]  # noqa: S108  # inside, and its own


# -- the disk


def test_disk_is_measured_by_what_is_taken(tmp_path: Path) -> None:
    """Sparse files take nothing, files without a name do, links are not followed."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(bytes(range(256)) * 4096)
    (tmp_path / "link").symlink_to("/usr")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    before = measure_disk(tmp_path, [os.getpid()])
    assert 4 == before.files
    assert MEGABYTE <= before.used < 2 * MEGABYTE
    with (tmp_path / "nameless").open("wb") as file:
        (tmp_path / "nameless").unlink()
        file.write(bytes(range(256)) * 8192)
        file.flush()
        os.fsync(file.fileno())
        assert before.used + MEGABYTE < measure_disk(tmp_path, [os.getpid()]).used
    assert 0 == measure_disk(tmp_path / "none", [999_999_999]).used


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("for n in range(9): open(f'file-{n}', 'wb').write(os.urandom(1 << 20))", "bytes of disk, at most 4194304"),
        (
            "for n in range(9):\n f = open('x', 'wb', 0); os.unlink('x'); f.write(os.urandom(1 << 20)); state[n] = f",
            "bytes of disk, at most 4194304",
        ),
        ("for n in range(30000): open(f'empty-{n}', 'w').close()", "more than 20000 files"),
    ],
)
async def test_plugin_that_fills_the_disk_is_killed(machine: Machine, tmp_path: Path, code: str, words: str) -> None:
    """Some seconds later, with its reason."""
    spec = guest_spec(tmp_path / "work", limits=ProcessLimits(disk_bytes=4 * MEGABYTE))
    async with guest(spec, machine) as running:
        with pytest.raises(SandboxLost) as caught, trio.fail_after(30):
            await running.do(f"import os, threading\n{code}\nthreading.Event().wait()")
        assert words in caught.value.last_words


def test_machine_without_anything_plans_nothing(tmp_path: Path) -> None:
    """All that is left is what every Unix has."""
    plan = make_plan(guest_spec(tmp_path / "work"), evolve(Machine()))
    assert frozenset() == plan.layers()
