"""uv, or pip in an environment of its own. They resolve, build and install; the host's environment stays as it is."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from fairlead.errors import PluginLoadError
from fairlead_sandbox.environments import _tree as tree
from fairlead_sandbox.environments._files import normal
from fairlead_sandbox.environments._programs import run

__all__ = ["Installer", "Pin", "Pip", "Sources", "Uv", "find_installer", "render_pins"]


@frozen
class Sources:
    """Where packages may come from."""

    find_links: tuple[str, ...] = ()
    """Directories of wheels, or pages that link to wheels."""
    no_index: bool = False
    """Ask no index: what is not in *find_links*, the host has, or it is not found."""

    @property
    def options(self) -> list[str]:
        """As uv and pip both take them."""
        found = [word for each in self.find_links for word in ("--find-links", each)]
        return [*found, *(["--no-index"] if self.no_index else [])]


@frozen
class Pin:
    """One distribution of a resolution."""

    name: str
    """Normal (PEP 503)."""
    version: str
    """Empty where only a place is known."""
    hashes: tuple[str, ...]
    """``sha256:...``; one of them is the file's."""
    url: str = ""
    """Of the very file, where it was asked for by its place."""


class Installer(Protocol):
    """Builds, resolves and installs; each works in a directory *work* that its caller removes.

    Every method raises `PluginLoadError` with the program's own words where that fails.
    """

    @property
    def name(self) -> str:
        """For the record."""

    async def build(self, project: Path, work: Path, sources: Sources) -> Path:
        """Build the wheel of a project: **this runs the project's code**, as the user who calls it."""

    async def resolve(self, needs: Sequence[str], work: Path, sources: Sources) -> tuple[Pin, ...]:
        """Choose a version and the hashes of all that is needed, from wheels only."""

    async def install(self, requirements: str, site: Path, work: Path, sources: Sources) -> None:
        """Install exactly these lines, all of which have hashes, into a directory of packages."""


async def find_installer(cache: Path) -> Installer:
    """uv where it is installed; else pip, for which an environment is made in the cache once.

    `PluginLoadError`: there is neither.
    """
    beside = Path(sys.executable).with_name("uv")
    program = str(beside) if beside.is_file() else shutil.which("uv")
    return Uv(program) if program is not None else await Pip.make(cache)


def render_pins(pins: Sequence[Pin]) -> str:
    """Pins as lines of a requirements file: those with a place as that place."""
    lines = []
    for pin in pins:
        what = f"{pin.name} @ {pin.url}" if pin.url else f"{pin.name}=={pin.version}"
        lines.append(" \\\n    ".join([what, *(f"--hash={each}" for each in pin.hashes)]))
    return "".join(f"{line}\n" for line in lines)


def _built(work: Path, project: Path) -> Path:
    made = sorted(work.glob("*.whl"))
    if len(made) != 1:
        raise PluginLoadError(f"building {project} gave {len(made)} wheels, expected one", next_step="read its README")
    return made[0]


@frozen
class Uv:
    """uv (https://docs.astral.sh/uv/)."""

    program: str

    @property
    def name(self) -> str:
        """For the record."""
        return "uv"

    async def build(self, project: Path, work: Path, sources: Sources) -> Path:
        """See `Installer`."""
        target = work / "built"
        command = [self.program, "build", "--wheel", "--quiet", "--python", sys.executable, "--out-dir", str(target)]
        mend = f"uv build --wheel {project}"
        await run([*command, *sources.options, str(project)], cwd=work, doing=f"building {project}", next_step=mend)
        return _built(target, project)

    async def resolve(self, needs: Sequence[str], work: Path, sources: Sources) -> tuple[Pin, ...]:
        """See `Installer`."""
        (work / "needs.in").write_text("".join(f"{need}\n" for need in needs), "utf-8")
        command = [self.program, "pip", "compile", "needs.in", "--quiet", "--python", sys.executable, "--no-header"]
        command += ["--generate-hashes", "--no-annotate", "--only-binary", ":all:", *sources.options]
        mend = "read which of the versions above do not fit; --find-links names a directory of wheels"
        return _parse(await run(command, cwd=work, doing="resolving what it needs", next_step=mend))

    async def install(self, requirements: str, site: Path, work: Path, sources: Sources) -> None:
        """See `Installer`. The files are copies: uv's own cache has links into other environments."""
        (work / "exact.txt").write_text(requirements, "utf-8")
        command = [self.program, "pip", "install", "--quiet", "--target", str(site), "--python", sys.executable]
        command += ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--link-mode", "copy", *sources.options]
        mend = "try again; a hash that differs means that a file was exchanged"
        await run([*command, "--requirements", "exact.txt"], cwd=work, doing="installing it", next_step=mend)


def _parse(text: str) -> tuple[Pin, ...]:
    """The lines that ``uv pip compile`` writes."""
    pins = []
    for line in text.replace("\\\n", " ").splitlines():
        what, *hashes = re.split(r"\s+--hash=", line.strip())
        found = re.fullmatch(r"([\w.-]+)(?:==(\S+)|\s*@\s*(\S+))(?:\s*;.*)?", what.strip())
        if found is None:
            if what and not what.startswith(("#", "-")):
                raise PluginLoadError(
                    f"uv gave the line {what!r}, which is no pin", next_step="pip install --upgrade uv"
                )
            continue
        name, version, url = found.groups(default="")
        pins.append(Pin(normal(name), version, tuple(each.strip() for each in hashes), url))
    return tuple(pins)


@frozen
class Pip:
    """pip, by a Python that has it."""

    python: str

    @classmethod
    async def make(cls, cache: Path) -> Pip:
        """A pip in an environment in the cache, which is made where it is not there."""
        mend = "pip install uv (or, on Debian, sudo apt install python3-venv)"
        final = cache / f"pip-{tree.TAG}"
        if not (final / "bin/python").exists():
            with tree.temporary(cache) as made:
                command = [sys.executable, "-m", "venv", str(made / "pip")]
                await run(command, cwd=made, doing="making an environment for pip", next_step=mend)
                tree.remove_tree(final)  # one whose Python is gone
                tree.place(made / "pip", final)
                final.chmod(0o755)
        return cls(str(final / "bin/python"))

    @property
    def name(self) -> str:
        """For the record."""
        return "pip"

    def _command(self, *words: str) -> list[str]:
        return [self.python, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", *words]

    async def build(self, project: Path, work: Path, sources: Sources) -> Path:
        """See `Installer`."""
        target = work / "built"
        command = self._command(
            "wheel", "--quiet", "--no-deps", "--wheel-dir", str(target), *sources.options, str(project)
        )
        await run(command, cwd=work, doing=f"building {project}", next_step=f"pip wheel --no-deps {project}")
        return _built(target, project)

    async def resolve(self, needs: Sequence[str], work: Path, sources: Sources) -> tuple[Pin, ...]:
        """See `Installer`. Only the hash of the very file that pip chose is known, so the lock is for this machine."""
        (work / "needs.in").write_text("".join(f"{need}\n" for need in needs), "utf-8")
        command = self._command("install", "--quiet", "--dry-run", "--ignore-installed", "--report", "report.json")
        command += ["--only-binary", ":all:", *sources.options, "--requirement", "needs.in"]
        mend = "read which of the versions above do not fit; --find-links names a directory of wheels"
        await run(command, cwd=work, doing="resolving what it needs", next_step=mend)
        report = json.loads((work / "report.json").read_text("utf-8"))
        return tuple(sorted((_reported(each) for each in report["install"]), key=lambda pin: pin.name))

    async def install(self, requirements: str, site: Path, work: Path, sources: Sources) -> None:
        """See `Installer`."""
        (work / "exact.txt").write_text(requirements, "utf-8")
        command = self._command("install", "--quiet", "--target", str(site), "--no-deps", "--require-hashes")
        command += ["--no-compile", "--only-binary", ":all:", *sources.options, "--requirement", "exact.txt"]
        mend = "try again; a hash that differs means that a file was exchanged"
        await run(command, cwd=work, doing="installing it", next_step=mend)


def _reported(item: dict[str, Any]) -> Pin:
    """One entry of pip's report (https://pip.pypa.io/en/stable/reference/installation-report/)."""
    origin = item["download_info"]
    archive = origin["archive_info"]
    known = archive.get("hashes") or dict([archive["hash"].split("=", 1)])  # the one form before pip 23
    hashes = tuple(f"{kind}:{found}" for kind, found in sorted(known.items()))
    metadata = item["metadata"]
    return Pin(normal(metadata["name"]), metadata["version"], hashes, origin["url"] if item["is_direct"] else "")
