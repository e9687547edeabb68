"""Whose containers are there, and which of them nobody will miss."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from fairlead_sandbox.container import ContainerSpec, Listing, collect_garbage, list_containers
from fairlead_sandbox.container._instance import Instance, Life
from fairlead_sandbox.container._orphans import read_listing

from .container_engine import IDLE, engine, has_image

HERE = Instance.current()


def test_this_process_is_alive_and_known_by_its_name() -> None:
    """The text of the label is read back as the same instance."""
    assert "alive" == HERE.life()
    assert HERE == Instance.parse(HERE.name, HERE.boot)


@pytest.mark.parametrize("name", ["", "1", "1-2", "x-2-3", "-1-2-3", "1--3", "99999999-1-1", "\u0661-2-3"])
def test_label_of_somebody_else_is_no_instance(name: str) -> None:
    """Labels are text that anybody may write."""
    assert Instance.parse(name, "boot") is None


def test_process_that_ended_is_dead() -> None:
    """Also where its number is in use again, and where nobody has buried it yet."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        stat = Path(f"/proc/{other.pid}/stat")
        instance = evolve(HERE, pid=other.pid, started=stat.read_text().rpartition(")")[2].split()[19])
        assert "alive" == instance.life()
        assert "dead" == evolve(instance, started="1").life()
        assert other.stdin is not None
        other.stdin.close()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert "dead" == instance.life()
    assert "dead" == instance.life()


def test_process_of_another_machine_is_unknown() -> None:
    """A number of another boot or namespace is a stranger's here."""
    assert "unknown" == evolve(HERE, boot="another").life()
    assert "unknown" == evolve(HERE, namespace="1").life()


def listing(maker: Life, state: str = "running", *, expired: bool = False) -> Listing:
    return Listing("id", "project", "", state, 1.0, maker, ours=False, pid=1, uids="", expired=expired)


@pytest.mark.parametrize(
    ("maker", "state", "expired", "forgotten"),
    [
        ("alive", "running", False, False),
        ("alive", "running", True, False),
        ("alive", "created", True, False),
        ("dead", "running", False, True),
        ("dead", "created", False, True),
        ("unknown", "running", False, False),
        ("unknown", "running", True, True),
        ("unknown", "exited", False, True),
        ("unknown", "created", False, True),
    ],
)
def test_what_is_forgotten(maker: Life, state: str, *, expired: bool, forgotten: bool) -> None:
    """Never what a living process has; what a dead one had at once; of others what is too old or does not run."""
    assert forgotten == listing(maker, state, expired=expired).forgotten


def summary(**labels: str) -> dict[str, Any]:
    return {"Id": "id", "Created": 1000, "State": "running", "Labels": labels}


def test_labels_are_read_without_trust() -> None:
    """Without a maker or a time a container is unknown, and a day old at most."""
    found = read_listing(summary(**{"fairlead.expires": "soon"}), HERE, 1000 + 86_399)
    assert ("unknown", False, 0) == (found.maker, found.expired, found.pid)
    assert read_listing(summary(), HERE, 1000 + 86_401).expired
    assert read_listing({"Id": "id", "Labels": None}, HERE, 0).maker == "unknown"


@pytest.mark.docker
async def test_container_of_a_dead_process_is_collected(tmp_path: Path) -> None:
    """One that was made and never started has no stream whose end it could see; that of a living process stays."""
    async with engine(tmp_path.resolve()) as docker:
        image = await has_image(docker)
        alive = await docker.start_container(ContainerSpec(image.id, IDLE))
        labels = {"fairlead.project": "tests", "fairlead.boot": HERE.boot, "fairlead.uids": "1900000000+16"}
        labels["fairlead.instance"] = evolve(HERE, started="1").name
        try:
            for _ in range(10):  # any other process that opens an engine collects it as well, and may be first
                made = docker.api.create_container(image.id, "true", labels=labels)["Id"]
                collected = {found.id: found for found in await collect_garbage(docker)}
                if made in collected:
                    break
            assert ("created", "dead") == (collected[made].state, collected[made].maker)
            assert alive.id not in collected
            left = {found.id: found.ours for found in await list_containers(docker)}
            assert left[alive.id]
            assert made not in left
        finally:
            await docker.remove(made)
            await alive.kill()
