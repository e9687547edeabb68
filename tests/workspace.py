"""The distributions of the workspace: building them, and installing them into fresh environments.

Somebody else may own one of our names on a public index. So third parties are installed by the names and versions of
uv.lock, and ours afterwards, from the wheels built here, without any index.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from attrs import frozen
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (ROOT / "core", ROOT / "sandbox", *sorted((ROOT / "plugins").glob("[a-z]*")))
OURS = ("fairlead", "fairlead-core", *(f"fairlead-{room.name}" for room in ROOMS[1:]))
"""The names of all distributions of the workspace."""

_SETTINGS_OF_THIS_RUN = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "CONDA_PREFIX"}


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a program to its end and give what it printed; its failure fails the test with all that it said."""
    env = {name: value for name, value in os.environ.items() if name not in _SETTINGS_OF_THIS_RUN}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def uv(*arguments: str | Path) -> str:
    return run(find_uv_bin(), *arguments)


@frozen
class Environment:
    """A virtual environment."""

    path: Path

    @property
    def bin(self) -> Path:
        return self.path / "bin"

    @property
    def python(self) -> Path:
        return self.bin / "python"

    def run(self, code: str) -> str:
        """Run Python code away from the checkout, warnings being errors, and give what it printed."""
        return run(self.python, "-I", "-W", "error", "-c", code, cwd=self.path)


def build(target: Path, *options: str) -> Path:
    """Build the whole workspace: sdists and, from them, wheels; or what the options of `uv build` say."""
    uv("build", "--all-packages", "--quiet", "--out-dir", target, *options)
    return target


def export_third_parties(target: Path) -> Path:
    """Write a file of requirements: what the workspace needs from others at run time, as locked."""
    uv("export", "--frozen", "--quiet", "--all-packages", "--no-emit-workspace", "--no-default-groups", "-o", target)
    return target


def create_environment(path: Path, third_parties: Path) -> Environment:
    """A fresh environment that holds third parties only."""
    uv("venv", "--quiet", "--python", sys.executable, path)
    environment = Environment(path)
    install(environment, "--requirements", third_parties)
    return environment


def install(environment: Environment, *what: str | Path) -> None:
    """Install exactly this, and nothing that it depends on."""
    uv("pip", "install", "--quiet", "--no-deps", "--python", environment.python, *what)


def install_wheels(environment: Environment, wheelhouse: Path, *distributions: str) -> None:
    """Install distributions by name, from this directory of wheels alone."""
    install(environment, "--no-index", "--find-links", wheelhouse, "--no-build", *distributions)
