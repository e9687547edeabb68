"""Attacks on files: the host's, the runtime's, and those of other sessions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Arena
from .probes import SAME, Probe, refused, table

pytestmark = pytest.mark.docker
NO_SUCH = [
    refused("passwords of the host", "open('/etc/shadow').read()", kernel=SAME),
    refused("keys of root", "os.listdir('/root/.ssh')"),
    Probe("home directories", "return str(os.listdir('/home'))", "[]"),
    refused("socket of the engine", "__import__('socket').socket(1).connect('/var/run/docker.sock')", kernel=SAME),
    refused("socket of containerd", "__import__('socket').socket(1).connect('/run/containerd/containerd.sock')"),
    refused("root of PID 1", "os.listdir('/proc/1/root')"),
    refused("root by way of its parent", "os.listdir(f'/proc/{os.getppid()}/root')"),
    refused("disks", "open('/dev/sda', 'rb')"),
    refused("tokens of a cluster", "os.listdir('/var/run/secrets')"),
    refused("above the root", "open('/../../../../etc/shadow')"),
    Probe("mounts", "return ''.join(l for l in open('/proc/self/mountinfo') if 'docker.sock' in l)", ""),
]
READ_ONLY = [
    refused("writes to the system", "open('/usr/bin/evil', 'w')", kernel=SAME),
    refused("writes to its users", "open('/etc/passwd', 'a')"),
    refused("writes to the plugin", "open('/plugin/0/acme_hostile/__init__.py', 'a')", kernel=SAME),
    refused("new file beside the plugin", "open('/plugin/0/evil.py', 'w')"),
    refused("removes the plugin", "os.rename('/plugin/0/acme_hostile', '/plugin/0/other')"),
    refused("writes to the supervisor", "open('/fairlead/inside/_supervisor.py', 'a')"),
    refused("new file beside the supervisor", "open('/fairlead/inside/evil.py', 'w')"),
    refused("reads the record of calls", "os.listdir('/record')", kernel=SAME),
    refused("writes among the record of calls", "open('/record/x', 'w')"),
    refused("link to the record of calls", "os.listdir(os.symlink('/record', '/tmp/r') or '/tmp/r')"),
    refused("link of its own to a strange file", "os.link('/etc/passwd', '/tmp/x')"),
    refused("owner of a file", "os.chown(os.open('/work/x', os.O_CREAT), 0, 0)"),
    refused("compiled code of the plugin", "os.makedirs('/plugin/0/acme_hostile/__pycache__/x')"),
]
PROGRAMS = [
    Probe(
        "program in /tmp",
        "import shutil, subprocess\nshutil.copy('/bin/true', '/tmp/x')\n"
        "return tried(lambda: subprocess.run(['/tmp/x']))",
        "refused",
    ),
    Probe(
        "program in /dev/shm",
        "import shutil, subprocess\nshutil.copy('/bin/true', '/dev/shm/x')\n"
        "return tried(lambda: subprocess.run(['/dev/shm/x']))",
        "refused",
    ),
    Probe(
        "program that is another user's when it runs",
        "import shutil, subprocess\nshutil.copy(sys.executable, '/work/x'); os.chmod('/work/x', 0o6755)\n"
        "code = 'import os; print(os.geteuid() == os.getuid())'\n"
        "out = subprocess.run(['/work/x', '-I', '-S', '-c', code], capture_output=True)\n"
        "os.remove('/work/x')\nreturn 'refused' if out.stdout != b'False\\n' else 'DONE'",
        "refused",
    ),
    Probe(
        "programs that give privileges",
        "import subprocess\nfor name in ('su', 'mount', 'passwd', 'newgrp', 'chsh'):\n"
        " try: out = subprocess.run([name, '-c', 'id -u'], capture_output=True, input=b'', timeout=5).stdout\n"
        " except OSError: continue\n if out.strip() == b'0': return 'DONE'\nreturn 'refused'",
        "refused",
    ),
    Probe(
        "program without a file",
        "import subprocess\nf = os.memfd_create('x'); os.write(f, open('/bin/true', 'rb').read())\n"
        "return tried(lambda: subprocess.run([f'/proc/self/fd/{f}'], pass_fds=[f]))",
        "DONE",  # its own code in its own process: no more than Python may do
    ),
]


@table(NO_SUCH, READ_ONLY, PROGRAMS)
def test_attack_on_files(arena: Arena, level: str, probe: Probe) -> None:
    """What is not the call's is not there, or cannot be changed."""
    arena.attack(probe)


@pytest.mark.parametrize("level", ["container", "kernel"])
def test_files_of_the_host_are_not_there(arena: Arena, level: str, tmp_path: Path) -> None:
    """Nor the app's own: its data, and in it the workspaces of others."""
    secret = tmp_path / "token"
    secret.write_text("secret of the host")
    data = arena.host.app.config.data_dir
    paths = [str(secret), str(data), f"{data}/workspaces", f"/proc/1/root{secret}", f"/work/../..{secret}"]
    code = f"return ''.join(sorted({{tried(lambda: os.stat(p)) for p in {paths!r}}}))"
    assert "refused" == arena.probe("attacker", code)


@pytest.mark.parametrize("level", ["container"])
def test_links_in_a_workspace_lead_the_host_nowhere(arena: Arena, level: str, tmp_path: Path) -> None:
    """Whatever a call leaves there, the host changes no file of its own when it cleans up."""
    secret = tmp_path / "token"
    secret.write_text("secret of the host")
    code = (
        f"os.symlink({str(tmp_path)!r}, '/work/out'); os.symlink({str(secret)!r}, '/work/token')\n"
        f"os.symlink({str(tmp_path)!r}, '/tmp/out'); os.mkfifo('/work/pipe')"
    )
    assert "done" == arena.probe("leaver", code)
    assert "fine" == arena.probe("leaver", "return 'fine'")
    arena.host.run(lambda: arena.host.app.sessions.erase("leaver"))
    assert "secret of the host" == secret.read_text()
    assert "[]" == arena.probe("leaver", "return str(os.listdir('/work'))")


@pytest.mark.parametrize("level", ["container"])
def test_arguments_are_only_text(arena: Arena, level: str) -> None:
    """What the model writes reaches the tool as it is: no shell, no file name, no format reads it."""
    text = "$(id) `id` ; && {0} %s \\x00 \u202e ../../etc/shadow"
    assert text == arena.probe("attacker", f"return {json.dumps(text)}")
