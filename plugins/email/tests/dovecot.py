"""A real dovecot on loopback, for one session of tests: its own configuration, users and Maildirs."""

from __future__ import annotations

import grp
import imaplib
import os
import pwd
import select
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define

PASSWORD = "sesame&co"
SECONDS = 20.0
PROGRAM = shutil.which("dovecot") or "/usr/sbin/dovecot"
CONFIG = """
base_dir = {home}/run
state_dir = {home}/run
log_path = {home}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:{home}/mail/%u
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {login}
first_valid_uid = 1
mail_max_userip_connections = 100
login_trusted_networks = 127.0.0.0/8
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}/mail/%u
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
{more}
"""


def need_dovecot() -> None:
    if not Path(PROGRAM).exists():
        lack = "dovecot is not installed: apt-get install dovecot-imapd"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lack)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate of this machine, signed by itself."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    made = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    subprocess.run([*shlex.split(made), names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


@define(eq=False)
class Dovecot:
    """A server where every address is a user, with the same password."""

    home: Path
    cert: Path
    imap: int
    imaps: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([PROGRAM, "-F", "-c", str(self.home / "dovecot.conf")])
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.imap), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self.home / "log").read_text()
                assert self.process.poll() is None, (self.home / "log").read_text()
                select.select([], [], [], 0.02)

    def stop(self) -> None:
        """End it, with all its connections."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(SECONDS)
            self.process = None

    def client(self, address: str) -> imaplib.IMAP4_SSL:
        """A client of the standard library, logged in, its INBOX open."""
        client = imaplib.IMAP4_SSL("127.0.0.1", self.imaps, ssl_context=ssl.create_default_context(cafile=self.cert))
        client.login(address, PASSWORD)
        client.select("INBOX")
        return client

    def put(self, address: str, raw: bytes, mailbox: str = "INBOX") -> None:
        """Deliver a mail into a mailbox."""
        client = self.client(address)
        try:
            status, words = client.append(mailbox, "", "", raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
            assert status == "OK", words
        finally:
            client.logout()

    def mails(self, address: str, mailbox: str = "INBOX") -> list[tuple[bytes, bytes]]:
        """Flags and text of each mail in a mailbox, oldest first."""
        client = self.client(address)
        try:
            status, (count,) = client.select(f'"{mailbox}"', readonly=True)
            if status != "OK" or count == b"0":
                return []
            found = client.fetch("1:*", "(FLAGS BODY.PEEK[])")[1]
            return [(one[0], one[1]) for one in found if isinstance(one, tuple)]
        finally:
            client.logout()


@contextmanager
def serving(more: str = "") -> Iterator[Dovecot]:
    """A dovecot that runs; `more` goes into its configuration."""
    need_dovecot()
    root = os.geteuid() == 0
    # Not pytest's own directory: the server's users must be able to enter it. And short: its sockets lie there.
    home = Path(tempfile.mkdtemp(prefix="fl-mail-"))
    try:
        home.chmod(0o755)
        (home / "mail").mkdir()
        (home / "log").touch()
        me = pwd.getpwuid(os.geteuid())
        mailer = pwd.getpwnam("nobody") if root else me
        if root:
            os.chown(home / "mail", mailer.pw_uid, mailer.pw_gid)
        cert, key = make_certificate(home)
        imap, imaps = free_ports(2)
        names = {
            "user": "dovecot" if root else me.pw_name,
            "group": "dovecot" if root else grp.getgrgid(me.pw_gid).gr_name,
            "login": "dovenull" if root else me.pw_name,
            "password": PASSWORD,
            "uid": mailer.pw_uid,
            "gid": mailer.pw_gid,
        }
        text = CONFIG.format(home=home, cert=cert, key=key, imap=imap, imaps=imaps, more=more, **names)
        (home / "dovecot.conf").write_text(text)
        server = Dovecot(home, cert, imap, imaps)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)
