"""The survey says what is true of the machine, with a real engine where one answers."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import socket
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from fairlead import Finding
from fairlead_sandbox import survey
from fairlead_sandbox._engine import ask_engine, describe_engine, describe_gvisor
from fairlead_sandbox._kernel import landlock, seccomp, try_bubblewrap

SUBJECTS = ["docker engine", "gvisor", "bubblewrap", "landlock", "seccomp"]
NO_ENGINE = (
    "no Docker Engine answers; get one with: sudo apt install docker.io && sudo systemctl start docker"
    " (without systemd: sudo dockerd &)"
)


async def found(seconds: float = 5.0) -> dict[str, Finding]:
    return {finding.subject: finding for finding in await survey(seconds)}


def is_complete(finding: Finding) -> bool:
    return bool(finding.subject and finding.detail and (finding.ok or finding.next_step))


async def test_every_finding_says_what_it_is_and_what_mends_it() -> None:
    """In a fixed order, whatever the machine has."""
    findings = await survey()
    assert SUBJECTS == [finding.subject for finding in findings]
    assert [] == [finding for finding in findings if not is_complete(finding)]


@pytest.fixture
def engine() -> str:
    """The version of the engine that answers. Where there must be one, the test fails without it."""
    try:
        client = docker.from_env(timeout=5) if ask_engine(5)[0].ok else None
    except docker.errors.DockerException:
        client = None
    if client is None:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have a Docker Engine; {NO_ENGINE}")
        pytest.skip(NO_ENGINE)
    with contextlib.closing(client):
        return str(client.version()["Version"])


@pytest.mark.docker
async def test_running_engine_is_described(engine: str) -> None:
    """Against a real Docker Engine: the version that the engine itself gives, storage, cgroups and runtimes."""
    findings = await found()
    described = findings["docker engine"]
    assert described.ok
    assert f"Docker Engine {engine}, API 1." in described.detail
    rest = r"storage \w+, cgroup v[12], user namespaces (on|off), seccomp (on|off), (rootless|runs as root)"
    assert re.search(rest, described.detail)
    gvisor = findings["gvisor"]
    assert gvisor.ok or "runc" in gvisor.detail


async def test_missing_engine_is_told_with_the_socket_and_the_next_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not an exception."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    findings = await found()
    assert not findings["docker engine"].ok
    assert f"{tmp_path}/none.sock" in findings["docker engine"].detail
    assert "No such file" in findings["docker engine"].detail
    assert "not known" in findings["gvisor"].detail


async def test_engine_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A socket that accepts and says nothing."""
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(f"{tmp_path}/mute.sock")
        mute.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/mute.sock")
        findings = await found(seconds=0.2)
    assert not findings["docker engine"].ok
    assert "timed out" in findings["docker engine"].detail.lower()


async def test_nonsense_for_a_host_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is the user's."""
    monkeypatch.setenv("DOCKER_HOST", "nonsense://x")
    assert "nonsense" in (await found())["docker engine"].detail


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["name=seccomp,profile=default"], "user namespaces off, seccomp on, runs as root"),
        (["name=userns", "name=rootless", "name=cgroupns"], "user namespaces on, seccomp off, rootless"),
        (None, "user namespaces off, seccomp off, runs as root"),
    ],
)
def test_engine_says_how_it_isolates(options: list[str] | None, words: str) -> None:
    """From the words of /info, also where some are missing."""
    info: dict[str, Any] = {"Driver": "overlay2", "CgroupVersion": "2", "SecurityOptions": options}
    finding = describe_engine({"Version": "20.10.24", "ApiVersion": "1.41"}, info)
    assert f"Docker Engine 20.10.24, API 1.41, storage overlay2, cgroup v2, {words}" == finding.detail
    assert "cgroup v1" in describe_engine({}, {}).detail


def test_gvisor_is_known_by_name_or_program() -> None:
    """An administrator may register it under any name."""
    assert describe_gvisor({"Runtimes": {"runc": {}, "runsc": {"path": "/usr/bin/runsc"}}}).ok
    assert "'strong'" in describe_gvisor({"Runtimes": {"strong": {"path": "/opt/runsc"}}}).detail
    without = describe_gvisor({"Runtimes": {"runc": {"path": "runc"}, "io.containerd.runc.v2": None}})
    assert not without.ok
    assert "runsc install" in without.next_step


async def test_bubblewrap_is_tried_and_not_only_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that is missing, one that works, one that the kernel refuses, one that hangs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not installed" in (await try_bubblewrap(5)).detail
    for script, ok, words in (
        ("exit 0", True, "makes namespaces"),
        ("echo 'No permissions to create new namespace' >&2; exit 1", False, "No permissions"),
        ("exit 3", False, "exit status 3"),
        ("while :; do :; done", False, "did not end in 0.5 s"),
    ):
        program = tmp_path / "bwrap"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        finding = await try_bubblewrap(0.5 if not ok else 5)
        assert ok is finding.ok
        assert words in finding.detail
        assert is_complete(finding)


def test_kernel_is_asked_itself(tmp_path: Path) -> None:
    """Landlock by its own call, seccomp by its file."""
    assert is_complete(landlock())
    assert is_complete(seccomp())
    actions = tmp_path / "actions_avail"
    actions.write_text("kill_process errno allow\n")
    assert "filters with kill_process, errno, allow" == seccomp(actions).detail
    assert not seccomp(tmp_path / "none").ok


def test_survey_is_found_by_its_entry_point() -> None:
    """A program shows it without importing this package by name."""
    (point,) = importlib.metadata.entry_points(group="fairlead.surveys", name="sandbox")
    assert survey is point.load()
