"""Programs that install: run to their end, with few variables of ours, and killed with all that they started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import trio

from fairlead.errors import PluginLoadError

__all__ = ["run"]

_SHOWN = 2000
"""Characters of a program's own words."""
_USER = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
_PLACES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NETRC", "SOURCE_DATE_EPOCH")
_NETWORK = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PROXIES = tuple(f"{each}_PROXY" for each in ("HTTP", "HTTPS", "ALL", "NO"))
_UV = (
    *("CACHE_DIR", "CONFIG_FILE", "DEFAULT_INDEX", "EXTRA_INDEX_URL", "FIND_LINKS", "HTTP_TIMEOUT", "INDEX"),
    *("INDEX_URL", "KEYRING_PROVIDER", "NATIVE_TLS", "OFFLINE", "SYSTEM_CERTS"),
)
_PIP = (
    *("CACHE_DIR", "CERT", "CLIENT_CERT", "CONFIG_FILE", "EXTRA_INDEX_URL", "FIND_LINKS", "INDEX_URL", "PROXY"),
    *("TIMEOUT", "TRUSTED_HOST"),
)
_KEPT = frozenset(
    (
        *(*_USER, *_PLACES, *_NETWORK, *_PROXIES, *(each.lower() for each in _PROXIES)),
        *(f"UV_{each}" for each in _UV),
        *(f"PIP_{each}" for each in _PIP),
    )
)
"""Where packages come from and how to get there. Nothing else: a project's build code would see it."""


async def run(command: Sequence[str], *, cwd: Path, doing: str, next_step: str) -> str:
    """Run a program and give what it printed. Cancelled: it is killed, with all of its session.

    `PluginLoadError`: it could not be started, or failed; with its last words and this next step.
    """
    try:
        done = await trio.run_process(
            list(command),
            cwd=cwd,
            env={name: value for name, value in os.environ.items() if name in _KEPT},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            start_new_session=True,
            deliver_cancel=_kill,
        )
    except OSError as error:
        raise PluginLoadError(f"{doing}: {command[0]} cannot be run: {error}", next_step=next_step) from error
    if done.returncode != 0:
        raise PluginLoadError(f"{doing} failed: {_words(done)}", next_step=next_step)
    return done.stdout.decode("utf-8", "replace")


async def _kill(process: trio.Process) -> None:
    """The whole session: a build has children, which would go on."""
    os.killpg(process.pid, signal.SIGKILL)


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    said = (done.stderr or b"").decode("utf-8", "replace").strip() or done.stdout.decode("utf-8", "replace").strip()
    said = said if len(said) <= _SHOWN else f"...{said[-_SHOWN:]}"
    return said or f"exit status {done.returncode}"
