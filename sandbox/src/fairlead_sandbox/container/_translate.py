"""What Docker's SDK raises, in our words."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from fairlead_sandbox.errors import EngineUnavailable, ImageMissing, SandboxLost

__all__ = ["BUILD", "DOCTOR", "is_changing", "mending", "translated"]

BUILD = "fairlead sandbox build"
DOCTOR = "fairlead sandbox doctor"
INSTALL = "sudo apt install docker.io (or see https://docs.docker.com/engine/install/)"
START = "sudo systemctl start docker (without systemd: sudo dockerd &)"
JOIN = "sudo usermod -aG docker $USER, and log in again (it gives root on this machine)"
NOT_FOUND, CONFLICT = 404, 409
"""No such container; a container in another state than the call needs."""


def mending(error: OSError) -> str:
    """The command that makes an engine answer."""
    return JOIN if isinstance(error, PermissionError) else START if shutil.which("dockerd") else INSTALL


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """`ImageMissing`, `SandboxLost` for a container that is gone, and `EngineUnavailable` for all else."""
    import docker.errors  # noqa: PLC0415  # 90 ms that only users of containers should pay
    import requests  # noqa: PLC0415  # the same

    try:
        yield
    except docker.errors.ImageNotFound as error:
        words = _words(error)
        raise ImageMissing(f"the engine has no such image: {words}", next_step=BUILD, floor="container") from error
    except docker.errors.APIError as error:
        words = _words(error)
        if "no such image" in words.lower():
            raise ImageMissing(f"the engine says: {words}", next_step=BUILD, floor="container") from error
        if error.status_code in (NOT_FOUND, CONFLICT):
            raise SandboxLost(f"the container is gone: {words}") from error
        raise EngineUnavailable(f"the engine refuses: {words}", next_step=DOCTOR, floor="container") from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        cause = _cause(error)
        next_step = mending(cause) if isinstance(cause, OSError) else DOCTOR
        problem = f"no Docker Engine answers: {str(cause) or type(cause).__name__}"
        raise EngineUnavailable(problem, next_step=next_step, floor="container") from error


def is_changing(error: SandboxLost) -> bool:
    """It is there, and on its way to another state."""
    return getattr(error.__cause__, "status_code", None) == CONFLICT


def _words(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)


def _cause(error: BaseException) -> BaseException:
    """The operating system's word, where there is one below the SDK's layers."""
    cause: BaseException = error
    while type(cause).__module__ != "builtins" and (cause.__cause__ or cause.__context__):
        cause = cause.__cause__ or cause.__context__ or cause
    return cause
