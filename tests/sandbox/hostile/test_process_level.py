"""The same attacker at the level `process`: a plugin process of its own, which its calls share."""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from fairlead.config import PluginConfig
from fairlead_sandbox.process import look_at_machine

from ..hosted import Hosted, configure, hosted, missing, told
from .probes import Probe, refused

LIVES = [
    refused("passwords of the host", "open('/etc/shadow').read()"),
    refused("keys of root", "os.listdir('/root/.ssh')"),
    refused("socket of the engine", "__import__('socket').socket(1).connect('/var/run/docker.sock')"),
    refused("a host on the internet", "__import__('socket').create_connection(('1.1.1.1', 443), 2)"),
    refused("metadata of a cloud", "__import__('socket').create_connection(('169.254.169.254', 80), 2)"),
    refused("datagram to a name server", "__import__('socket').socket(2, 2).sendto(b'x', ('8.8.8.8', 53))"),
    refused("raw socket", "__import__('socket').socket(2, 3, 1)"),
    refused("netlink", "__import__('socket').socket(16, 3, 0)"),
    refused("writes to its own code", "open(__import__('acme_hostile').__file__, 'a')"),
    refused("writes to the system", "open('/usr/bin/evil', 'w')"),
    refused("core pattern", "open('/proc/sys/kernel/core_pattern', 'w').write('|/tmp/x')"),
    refused("a disk by its number", "os.mknod('sda', 0o60666, os.makedev(8, 0))"),
    refused("becomes another user", "os.setuid(12345) if os.getuid() else open('/x')"),
    Probe("io_uring", "return syscall(425, 8, ctypes.create_string_buffer(120))", "refused"),
    Probe("bpf", "return syscall(321, 0, ctypes.create_string_buffer(72), 72)", "refused"),
    Probe("keyctl", "return syscall(250, 0, -3, 1)", "refused"),
    Probe(
        "mounts",
        "return syscall(165, ctypes.c_char_p(b'x'), ctypes.c_char_p(b'/tmp'), ctypes.c_char_p(b'tmpfs'), 0, 0)",
        "refused",
    ),
    Probe("new namespaces", "return syscall(272, 0x10000000)", "refused"),
    Probe("processes of the host", "return str(len([n for n in os.listdir('/proc') if n.isdigit()]) < 5)", "True"),
    refused("kills all that it may", "os.kill(-1, 9)"),
    Probe("lone surrogate", "return '\\ud800'", "SchemaError"),
    Probe("raises anything", "class E(BaseException): pass\nraise E('x')", "SandboxError"),
]
DIES = [
    Probe("leaves", "os._exit(0)", "SandboxLost"),
    Probe("segmentation fault", "ctypes.string_at(8)", "SandboxLost"),
    Probe("leak", "x = []\nwhile True: x.append(bytearray(1 << 20))", "SandboxLost"),
    Probe(
        "writes to every descriptor",
        "for fd in range(3, 64):\n try: os.write(fd, b'\\xff' * 64)\n except OSError: pass\nawait trio.sleep(9)",
        "BoundaryBroken",
    ),
]


@pytest.fixture(scope="module", autouse=True)
def _machine() -> None:
    """What a machine without bubblewrap does is tested where processes are; here all layers must be there."""
    if not trio.run(look_at_machine).bubblewrap:
        missing("plugin processes are isolated by bubblewrap: sudo apt install bubblewrap")


@pytest.fixture(scope="module")
def data(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes") / "data"


def opened(data: Path) -> Iterator[Hosted]:
    """An app whose plugin has crashed never before."""
    shutil.rmtree(data / "states", ignore_errors=True)
    with hosted(configure(data, PluginConfig("tools", "acme-hostile", isolation="process"), memory_mb=256)) as host:
        yield host


@pytest.fixture(scope="module")
def shared(data: Path) -> Iterator[Hosted]:
    yield from opened(data)


@pytest.fixture
def own(data: Path) -> Iterator[Hosted]:
    yield from opened(data)


@pytest.mark.parametrize("probe", LIVES, ids=lambda probe: probe.name)
def test_attack_that_the_process_survives(shared: Hosted, probe: Probe) -> None:
    """Its outcome says what it was, with the proof of where it ran; other sessions are answered."""
    result = shared.call("attacker", probe.tool, code=probe.code)
    assert (probe.outcome, "process") == (told(result), result.evidence["level"])
    assert "fine" == told(shared.call("neighbour", "probe", code="return 'fine'"))


@pytest.mark.parametrize("probe", DIES, ids=lambda probe: probe.name)
def test_attack_that_ends_the_process(own: Hosted, probe: Probe) -> None:
    """The call has failed, with the proof of where it ran; another process serves the next one."""
    result = own.call("attacker", probe.tool, code=probe.code)
    assert (probe.outcome, "process") == (told(result), result.evidence["level"])
    assert "fine" == told(own.call("neighbour", "probe", code="return 'fine'"))


def test_services_and_files_of_the_host_are_out_of_reach(shared: Hosted, tmp_path: Path) -> None:
    """By loopback, by abstract sockets, by paths that it knows."""
    name, secret = f"fairlead-{secrets.token_hex(4)}", tmp_path / "token"
    secret.write_text("secret of the host")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{name}")
        abstract.listen()
        code = (
            "import socket\n"
            f"found = [tried(lambda: socket.create_connection(('127.0.0.1', {tcp.getsockname()[1]}), 2))]\n"
            f"found.append(tried(lambda: socket.socket(1).connect('\\0{name}')))\n"
            f"found += [tried(lambda: open(p)) for p in ({str(secret)!r}, '/proc/1/root{secret}')]\n"
            "return ''.join(sorted(set(found)))"
        )
        assert "refused" == told(shared.call("attacker", "probe", code=code))
