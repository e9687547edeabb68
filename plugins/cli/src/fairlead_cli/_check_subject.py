"""What is checked: a wheel, unpacked where nobody imports it, and the project that it was built from."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import Distribution, EntryPoint, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from attrs import frozen

from fairlead.errors import SchemaError
from fairlead.hookspecs import GROUPS
from fairlead.wire import loads
from fairlead_cli._failures import Refused

__all__ = ["Ended", "Point", "Subject", "build", "environment", "installer", "open_subject"]

MANIFEST = "fairlead-plugin.json"
_KINDS = {group: kind for kind, group in GROUPS.items()}
_SECONDS = 600
"""For building, which may fetch what it builds with."""
_MEMORY = 6_000_000_000
"""Bytes of address space of one process."""
_LARGEST = 200_000_000
"""Bytes of an unpacked wheel: a plugin is code."""


@frozen
class Ended:
    """A program that has ended."""

    code: int
    said: str
    """On both of its outputs."""


@frozen
class Point:
    """One entry point, with the text of the manifest that counts for it."""

    kind: str
    """``channels``, ``tools``, ..."""
    name: str
    value: str
    manifest: Any
    """As JSON; None where it has none, and text for what is no JSON."""

    @property
    def label(self) -> str:
        """``tools/dice``."""
        return f"{self.kind}/{self.name}"


@frozen
class Subject:
    """What all checks look at."""

    site: Path
    """The directory of packages."""
    distribution: Distribution
    name: str
    version: str
    points: Sequence[Point]
    tests: Path | None
    """The directory of its tests; None where there is none."""

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"

    def sources(self) -> list[Path]:
        """Its Python files."""
        return sorted(path for path in self.site.rglob("*.py") if ".dist-info" not in path.parent.name)

    def packages(self) -> list[str]:
        """The top-level packages and modules of its files."""
        tops = {path.relative_to(self.site).parts[0].removesuffix(".py") for path in self.sources()}
        return sorted(tops)


def open_subject(wheel: Path, site: Path, tests: Path | None) -> Subject:
    """Unpack a wheel into a fresh directory. `Refused`: it is none."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if sum(each.file_size for each in archive.infolist()) > _LARGEST:
                raise Refused(f"{wheel} has more than {_LARGEST} bytes", next_step="leave out what is no code")
            archive.extractall(site)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise Refused(f"{wheel} is no wheel: {error}", next_step="fairlead check PATH") from None
    found = [each for each in distributions(path=[str(site)]) if "Name" in each.metadata]
    if len(found) != 1:
        raise Refused(f"{wheel} is no wheel: it has no metadata", next_step="uv build --wheel")
    (one,) = found
    return Subject(site, one, one.metadata["Name"], one.version, tuple(_points(one, site)), tests)


def _points(found: Distribution, site: Path) -> list[Point]:
    try:
        points = [point for point in found.entry_points if point.group in _KINDS]
    except Exception as error:  # a damaged file raises what its parser raises
        raise Refused(f"its entry points cannot be read: {error}", next_step="mend pyproject.toml") from error
    return [Point(_KINDS[point.group], point.name, point.value, _manifest(point, site)) for point in sorted(points)]


def _manifest(point: EntryPoint, site: Path) -> Any:
    """The manifest nearest to the module: in its package, or in one above; where the core looks for it too."""
    module = point.value.partition(":")[0].strip().split(".")
    for depth in range(len(module), 0, -1) if all(map(str.isidentifier, module)) else ():
        file = site.joinpath(*module[:depth], MANIFEST)
        if file.is_file():
            try:
                return loads(file.read_bytes())
            except SchemaError as error:
                return f"{file.relative_to(site)}: {error.problem}"
    return None


def build(project: Path, target: Path) -> Path:
    """The wheel of a project. Its own code runs for that. `Refused`: it cannot be built."""
    file = project / "pyproject.toml"
    try:
        settings = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"{file} cannot be read: {error}", next_step="fairlead new KIND NAME") from None
    backend = settings.get("build-system", {}).get("build-backend", "setuptools.build_meta")
    is_here = find_spec(str(backend).partition(".")[0].partition(":")[0]) is not None
    command = installer().build(project, target, isolated=not is_here)
    done = run(command, project, environment(target), _SECONDS)
    wheels = sorted(target.glob("*.whl"))
    if done.code or len(wheels) != 1:
        raise Refused(f"{project} does not build: {done.said.strip()[-2000:]}", next_step=" ".join(command))
    return wheels[0]


@frozen
class Installer:
    """uv where it is installed, else pip."""

    uv: str = ""

    def build(self, project: Path, target: Path, *, isolated: bool) -> list[str]:
        """The command that builds a wheel: with what is here, or in an environment of its own."""
        near = [] if isolated else ["--no-build-isolation"]
        if self.uv:
            where = ["--python", sys.executable, "--out-dir", str(target)]
            return [self.uv, "build", "--quiet", "--wheel", *near, *where, str(project)]
        head = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        return [*head, *near, "--wheel-dir", str(target), str(project)]

    def install(self, python: Path, what: Sequence[str], options: Sequence[str]) -> list[str]:
        """The command that installs into another environment."""
        if self.uv:
            return [self.uv, "pip", "install", "--quiet", "--python", str(python), *options, *what]
        quiet = ["install", "--quiet", "--disable-pip-version-check"]
        return [sys.executable, "-m", "pip", "--python", str(python), *quiet, *options, *what]

    def create(self, path: Path) -> list[str]:
        """The command that makes an environment."""
        if self.uv:
            return [self.uv, "venv", "--quiet", "--python", sys.executable, str(path)]
        return [sys.executable, "-m", "venv", "--without-pip", str(path)]


def installer() -> Installer:
    """What there is."""
    beside = Path(sys.executable).with_name("uv")
    return Installer(str(beside) if beside.is_file() else shutil.which("uv") or "")


def environment(home: Path, *paths: Path) -> dict[str, str]:
    """For a process with a stranger's code: no variable that may hold a secret, and a home of its own."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "CI")
    fetching = tuple(name for name in os.environ if name.startswith(("UV_", "PIP_")) or name.lower().endswith("_proxy"))
    inherited = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    # `uv` keeps what it has fetched below the home of whoever runs this.
    cache = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")
    return {
        **{name: os.environ[name] for name in (*kept, *fetching) if name in os.environ},
        "UV_CACHE_DIR": cache,
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(home / "hypothesis"),
        "PYTHONPATH": os.pathsep.join([*map(str, paths), *inherited]),
    }


def run(command: Sequence[str], cwd: Path, env: Mapping[str, str], seconds: float) -> Ended:
    """Run a program to its end, with what it has started; its output is one text. What takes too long is killed."""
    with tempfile.TemporaryFile() as output:  # a pipe would wait for whatever the program leaves behind
        try:
            process = subprocess.Popen(  # noqa: S603  # the command is ours; what it runs is what is checked
                command,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return Ended(127, str(error))
        late = ""
        # As Ctrl-C does, so that nothing of it goes on when this program is told to end.
        before = signal.signal(signal.SIGTERM, _leave)
        try:
            _limit(process.pid)
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            late = f"\nkilled after {seconds:g} s"
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            signal.signal(signal.SIGTERM, before)
        output.seek(0)
        return Ended(process.returncode, output.read().decode("utf-8", "replace") + late)


def _leave(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


def _limit(process: int) -> None:
    """What is broken may grow without end; this machine must not."""
    with suppress(OSError, AttributeError, ValueError):  # Linux alone can say so of another process
        resource.prlimit(process, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
