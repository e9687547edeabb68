"""The way out from inside a real container without a network: ordinary code, the forwarder, the proxy on the host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fairlead_sandbox.inside
from fairlead_sandbox.container import ContainerSpec, Mount

from .container_engine import engine, has_image, said_by
from .egress_world import API, VALUE, make_certificate, opened_world, secret

PROGRAM = """
import json, os, socket, sys, threading, urllib.request
handle = input()
sys.path.insert(0, "/fairlead")
from inside._forward import start, variables
os.environ |= variables(start("/egress/egress.sock"))

def path_of(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return json.load(answer)["path"]
    except OSError as error:
        return str(error)

def reach(host, port, kind=socket.SOCK_STREAM):
    try:
        socket.create_connection((host, port), 2).close()
        return "reached"
    except OSError as error:
        return str(error)

base = os.environ["FAIRLEAD_EGRESS"]
print(json.dumps({
    "reverse": path_of(base + "/https/api.example.org/a", Authorization="Bearer " + handle),
    "absolute": path_of("http://127.0.0.1:11434/b"),
    "refused": path_of("https://evil.org/"),
    "direct": reach("1.1.1.1", 443),
    "metadata": reach("169.254.169.254", 80),
    "names": reach("api.example.org", 443),
    "value": os.environ.get("SECRET", "") + "".join(open("/proc/self/environ").read()),
    "threads": threading.active_count(),
}))
"""


@pytest.mark.docker
async def test_container_without_a_network_reaches_what_is_granted_and_nothing_else(tmp_path: Path) -> None:
    """With a secret that is placed on the way out; no address, no name and no other host beside it."""
    handle, secrets = secret()
    sockets = tmp_path / "way"
    sockets.mkdir(mode=0o711)
    certificate = make_certificate(tmp_path)
    grants = (f"{API}:443", "127.0.0.1:11434")
    async with engine(tmp_path) as opened, opened_world(sockets, certificate, grants, secrets) as world:
        image = await has_image(opened)
        world.egress.socket_path.chmod(0o666)
        inside = Path(fairlead_sandbox.inside.__file__).resolve().parent
        spec = ContainerSpec(
            image.id,
            ["python3", "-I", "-c", PROGRAM],
            mounts=[Mount(inside, "/fairlead/inside")],
            egress_socket=world.egress.socket_path,
        )
        container = await opened.start_container(spec)
        try:
            await container.stream.send(f"{handle}\n".encode())
            said = await said_by(container)
            found = json.loads(said)
        finally:
            await container.kill()
        assert ("/a", "/b", 2) == (found["reverse"], found["absolute"], found["threads"])
        assert "403 evil.org:443 is not granted" in found["refused"]
        assert "unreachable" in found["direct"]
        assert "unreachable" in found["metadata"]
        assert "reached" != found["names"]
        assert VALUE not in said
        assert f"Bearer {VALUE}" == world.server.requests[0]["headers"]["authorization"]
        assert ["not-granted"] == world.refused
