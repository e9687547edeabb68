"""`fairlead chat`, with an engine, without one, and with what the configuration allows in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import evolve

from ..cli.programs import Home

QUESTION = "use python to compute the 1000th prime"
NOWHERE = {"DOCKER_HOST": "unix:///nonexistent"}


def home(path: Path, variables: Mapping[str, str] | None = None, isolation: str = "") -> Home:
    """Nothing is configured but the table ``[isolation]``."""
    made = evolve(Home(path), variables=dict(variables or {}))
    if isolation:
        made.configure(f"[isolation]\n{isolation}\n")
    return made


@pytest.mark.docker
def test_program_runs_in_a_container_and_the_evidence_is_shown(docker: None, tmp_path: Path) -> None:
    """The answer is right; beside the call stands where it ran, and the journal has it too."""
    place = home(tmp_path)
    done = place.run("chat", "--json", QUESTION)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    tool = next(line for line in lines if line["type"] == "tool" and line["status"] == "done")
    assert ("python", "7919") == (tool["tool"], tool["detail"].strip())
    assert ("container", "none", 64) == (
        tool["evidence"]["level"],
        tool["evidence"]["network"],
        len(tool["evidence"]["container"]),
    )
    assert "7919" in lines[-1]["text"]
    done = place.run("chat", QUESTION)
    assert (0, "The 1000th prime is 7919.\n") == (done.returncode, done.stdout), done.stderr
    assert "ran in a container: container " in done.stderr
    assert "network none" in done.stderr


def test_nothing_runs_without_an_engine(tmp_path: Path) -> None:
    """The call is refused with the command that helps; no line says that it ran anywhere."""
    place = home(tmp_path, NOWHERE)
    done = place.run("chat", QUESTION)
    assert "7919" not in done.stdout + done.stderr
    assert "ran in" not in done.stderr
    assert "no Docker Engine answers at /nonexistent" in done.stdout
    assert "dockerd" in done.stdout
    shown = place.run("sessions", "show", "--json", session_of(place)).stdout
    assert '"isolation"' in shown


def session_of(place: Home) -> str:
    listed = json.loads(place.run("sessions", "list", "--json").stdout.splitlines()[0])
    return str((listed[0] if isinstance(listed, list) else listed)["id"])


def test_process_does_where_the_configuration_allows_it(tmp_path: Path) -> None:
    """And the evidence says that it was a process, and no container."""
    done = home(tmp_path, NOWHERE, 'fallback = "process"').run("chat", QUESTION)
    assert (0, "The 1000th prime is 7919.\n") == (done.returncode, done.stdout), done.stderr
    assert "ran in a process: pid " in done.stderr
    assert "container" not in done.stderr


@pytest.mark.docker
def test_container_is_taken_where_both_would_do(docker: None, tmp_path: Path) -> None:
    """A fallback weakens nothing while the engine answers."""
    done = home(tmp_path, isolation='fallback = "process"').run("chat", QUESTION)
    assert "ran in a container: container " in done.stderr, done


@pytest.mark.docker
def test_missing_image_is_named_with_the_command_that_makes_it(docker: None, tmp_path: Path) -> None:
    """Nothing runs; no other image is taken."""
    done = home(tmp_path, isolation='image = "no-such"').run("chat", QUESTION)
    assert "the engine has no image 'no-such'" in done.stdout
    assert "fairlead sandbox build" in done.stdout
    assert "ran in" not in done.stderr


def test_options_that_would_weaken_it_are_refused(tmp_path: Path) -> None:
    """Before anything is opened, with the place in the file."""
    for line in ("privileged = true", 'network = "host"', 'mounts = ["/"]'):
        directory = tmp_path / str(abs(hash(line)))
        directory.mkdir()
        done = home(directory, isolation=line).run("chat", QUESTION)
        assert 0 != done.returncode, line
        assert "isolation" in done.stderr, done
