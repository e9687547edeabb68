"""What is read back from the engine and the kernel, and what follows from it."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead_sandbox.container import ContainerSpec, EngineFacts, UidRange
from fairlead_sandbox.container._evidence import ProcessFacts, process_facts, read_evidence
from fairlead_sandbox.container._figures import cgroup_places, read_figures
from fairlead_sandbox.container._request import compose
from fairlead_sandbox.container._threads import in_thread
from fairlead_sandbox.container._uids import UidSpace, claim_range, held_ranges
from fairlead_sandbox.errors import EngineUnavailable

IMAGE = f"sha256:{'0' * 64}"
ASKED = compose(ContainerSpec(IMAGE, ["cat"]), UidRange(1_900_000_000, 16))
PROCESS = ProcessFacts(7, True, True, "cb", ("ipc", "mnt", "net", "pid", "uts"))  # seccomp, no_new_privileges


def inspected() -> dict[str, Any]:
    """What an engine answers that has done as it was asked; newer ones write CAP_ before capabilities."""
    host = copy.deepcopy(ASKED["HostConfig"])
    host["CapAdd"] = [f"CAP_{name}" for name in host["CapAdd"]]
    host["Runtime"] = "runc"
    return {
        "Id": "id",
        "Image": IMAGE,
        "State": {"Running": True, "Pid": 7},
        "Config": {"User": "0:0"},
        "HostConfig": host,
        "Mounts": [],
        "NetworkSettings": {"Networks": {"none": {}}},
    }


def test_evidence_is_what_was_read_back() -> None:
    """As plain JSON too."""
    evidence = read_evidence(ASKED, inspected(), "container", PROCESS, "hard")
    assert ("container", "runc", "none", "hard") == (
        evidence.level,
        evidence.runtime,
        evidence.network,
        evidence.workspace,
    )
    assert evidence.as_json() == json.loads(json.dumps(evidence.as_json()))


def change(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def act(answer: dict[str, Any]) -> None:
        *way, last = path
        for name in way:
            answer = answer[name]
        answer[last] = to

    return act


@pytest.mark.parametrize(
    ("act", "named"),
    [
        (change("Image", to="sha256:1"), "Image"),
        (change("Config", "User", to=""), "Config.User"),
        (change("HostConfig", "NetworkMode", to="bridge"), "HostConfig.NetworkMode"),
        (change("HostConfig", "MemorySwap", to=-1), "HostConfig.MemorySwap"),
        (change("HostConfig", "PidsLimit", to=None), "HostConfig.PidsLimit"),
        (change("HostConfig", "ReadonlyRootfs", to=False), "HostConfig.ReadonlyRootfs"),
        (change("HostConfig", "Privileged", to=True), "HostConfig.Privileged"),
        (change("HostConfig", "CapAdd", to=["SYS_ADMIN"]), "HostConfig.CapAdd"),
        (change("HostConfig", "SecurityOpt", to=None), "HostConfig.SecurityOpt"),
        (change("HostConfig", "Ulimits", to=None), "HostConfig.Ulimits"),
        (change("HostConfig", "Sysctls", to={}), "HostConfig.Sysctls"),
        (change("Mounts", to=[{"Source": "/", "Destination": "/host", "RW": True}]), "Mounts"),
        (change("NetworkSettings", "Networks", to={"bridge": {}}), "NetworkSettings.Networks"),
    ],
)
def test_engine_that_did_otherwise_is_found_out(act: Callable[[dict[str, Any]], None], named: str) -> None:
    """By the first option that differs; the container is not used then."""
    answer = inspected()
    act(answer)
    with pytest.raises(EngineUnavailable, match=f"did not isolate as asked: {named} should be"):
        read_evidence(ASKED, answer, "container", PROCESS, "")


@pytest.mark.parametrize(
    "process",
    [
        ProcessFacts(7, False, True, "00000000000000cb", ()),  # no seccomp
        ProcessFacts(7, True, False, "00000000000000cb", ()),  # privileges can be gained
        ProcessFacts(7, True, True, "000001ffffffffff", ()),  # every capability
        ProcessFacts(7, True, True, "00000000000000cb", ("mnt",)),  # the host's network and processes
    ],
)
def test_kernel_has_the_last_word(process: ProcessFacts) -> None:
    """What the engine claims and the kernel does not do is no evidence."""
    with pytest.raises(EngineUnavailable, match="did not isolate as asked: /proc/PID"):
        read_evidence(ASKED, inspected(), "container", process, "")


def test_process_of_somebody_else_is_no_evidence(tmp_path: Path) -> None:
    """The engine's number may mean another process here: its cgroup must carry the container's name."""
    place = tmp_path / "7"
    place.mkdir()
    (place / "cgroup").write_text("5:memory:/docker/other\n")
    (place / "status").write_text("Seccomp:\t2\nNoNewPrivs:\t1\nCapBnd:\t00000000000000cb\n")
    assert process_facts(7, "mine", tmp_path) is None
    (place / "cgroup").write_text("5:memory:/docker/mine\n")
    assert ProcessFacts(7, True, True, "00000000000000cb", ()) == process_facts(7, "mine", tmp_path)  # as above


def test_figures_come_from_either_version_of_cgroups(tmp_path: Path) -> None:
    """And what cannot be read is left out."""
    proc = tmp_path / "proc" / "7"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text("4:memory:/docker/mine\n3:cpu,cpuacct:/docker/mine\n1:pids:/else\n")
    for name, file, text in (
        ("memory/docker/mine", "memory.usage_in_bytes", "4096\n"),
        ("memory/docker/mine", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ("cpuacct/docker/mine", "cpuacct.usage", "1500000000\n"),
        ("unified", "memory.current", "8192\n"),
        ("unified", "memory.events", "low 0\noom 1\noom_kill 1\n"),
        ("unified", "cpu.stat", "usage_usec 250000\nuser_usec 1\n"),
    ):
        place = tmp_path / name
        place.mkdir(parents=True, exist_ok=True)
        (place / file).write_text(text)
    first = read_figures(cgroup_places(7, "mine", tmp_path / "proc", tmp_path))
    assert {"cpu_seconds": 1.5, "memory_bytes": 4096.0, "oom_kills": 2.0} == first
    second = read_figures({"": tmp_path / "unified"})
    assert {"cpu_seconds": 0.25, "memory_bytes": 8192.0, "oom_kills": 1.0} == second
    assert {} == read_figures(cgroup_places(8, "mine", tmp_path / "proc", tmp_path))


# -- the engine


def facts(**info: Any) -> EngineFacts:
    runtimes = {"runc": {"path": "runc"}, "gvisor": {"path": "/usr/bin/runsc"}}
    shims = {"kata": {"runtimeType": "io.containerd.kata.v2"}, "io.containerd.runc.v2": {"path": "runc"}}
    options = {"Runtimes": {**runtimes, **shims}, "SecurityOptions": ["name=seccomp,profile=default"]}
    return EngineFacts.of({"Version": "28.1", "ApiVersion": "1.49"}, {**options, **info})


def test_level_is_that_of_the_runtimes_program() -> None:
    """Not of its name: a runtime that is called gVisor and is another one is no kernel."""
    assert ["container", "container", "kernel", "kernel"] == [
        facts().level(name) for name in ("", "runc", "gvisor", "kata")
    ]
    assert "container" == facts(Runtimes={"runsc": {"path": "runc"}}).level("runsc")
    assert "kernel" == facts(DefaultRuntime="gvisor").level("")


def test_user_namespaces_are_seen() -> None:
    """With the first uid of the range, and ids that fit into it."""
    remapped = facts(SecurityOptions=["name=userns", "name=seccomp"], DockerRootDir="/var/lib/docker/100000.100000")
    assert (True, 100_000) == (remapped.remapped, remapped.uid_offset)
    space = remapped.uid_space
    assert space.first + space.count * 16 <= 65_536
    assert (False, 0) == (facts().remapped, facts().uid_offset)


def test_ranges_of_users_are_disjoint() -> None:
    """A range that is held is nobody else's until it is released."""
    space = UidSpace(1_999_999_000, 4)
    held = [space.claim() for _ in range(4)]
    assert 4 == len({one.uids.first for one in held})
    with pytest.raises(EngineUnavailable, match="no range of user ids is free"):
        space.claim()
    assert claim_range(held[0].uids) is None
    held[0].release()
    again = space.claim()
    assert held[0].uids == again.uids
    for one in (again, *held[1:]):
        one.release()
    with pytest.raises(EngineUnavailable):
        space.claim({one.uids.first for one in held})
    assert {1_900_000_000} == held_ranges(["1900000000+16", "", "x"])


# -- threads


async def test_cancelled_call_is_waited_for_and_undone() -> None:
    """What a thread makes after its caller has gone is undone before the cancellation goes on."""
    made, begun, finish = [], threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        finish.wait(5)
        made.append("thing")
        return "thing"

    async def cancel() -> None:
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
        finish.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel)
        await in_thread(work, undo=made.remove)
    assert [] == made


async def test_thread_that_hangs_is_left_and_undoes_by_itself() -> None:
    """The caller is free after its patience; the thread cleans up behind itself whenever it ends."""
    undone, finish = threading.Event(), threading.Event()
    with trio.move_on_after(0.01) as scope:
        await in_thread(lambda: finish.wait(5), undo=lambda _: undone.set(), patience=0.01)
    assert scope.cancelled_caught
    assert not undone.is_set()
    finish.set()
    assert await trio.to_thread.run_sync(undone.wait, 5)


async def test_call_that_did_not_begin_never_begins() -> None:
    """Cancelled while all threads are busy."""
    limiter, done = trio.CapacityLimiter(1), []
    async with limiter:
        with trio.move_on_after(0.01):
            await in_thread(lambda: done.append(1), limiter=limiter)
    assert 1 == await in_thread(lambda: 1, limiter=limiter)
    assert [] == done
