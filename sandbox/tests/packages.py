"""Distributions for tests: installed into a directory or built as a wheel, without any tool or index."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from attrs import frozen

from fairlead_sandbox.environments import Environment, Sources, repack
from fairlead_sandbox.environments._installers import Pin
from fairlead_sandbox.environments._repack import record_text
from fairlead_sandbox.environments._tree import hash_file

TRAP = "raise AssertionError('the host has imported it')\n"


def metadata(name: str, version: str = "1.0", requires: tuple[str, ...] = (), *, extra: str = "") -> str:
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}{extra}"


def install(
    site: Path,
    name: str,
    files: Mapping[str, str],
    *,
    version: str = "1.0",
    requires: tuple[str, ...] = (),
    entry_points: str = "",
    extra: str = "",
    record: bool = True,
) -> Distribution:
    """Put a distribution into a directory of packages, as an installer does."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    every = {**files, f"{info}/METADATA": metadata(name, version, requires, extra=extra)}
    every[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if entry_points:
        every[f"{info}/entry_points.txt"] = entry_points
    for target, text in every.items():
        (site / target).parent.mkdir(parents=True, exist_ok=True)
        (site / target).write_text(text)
    if record:
        (site / info / "RECORD").write_text(record_text({each: hash_file(site / each) for each in every}, info))
    return find(site, name)


def install_editable(site: Path, name: str, project: Path, pth: str, more: Mapping[str, str] | None = None) -> None:
    """As pip and uv do it: the metadata, a ``.pth`` file, and what the backend adds."""
    files = {f"__editable__.{name}.pth": pth, **(more or {})}
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    origin = json.dumps({"url": project.as_uri(), "dir_info": {"editable": True}})
    install(site, name, {**files, f"{info}/direct_url.json": origin})


def find(site: Path, name: str) -> Distribution:
    return next(iter(distributions(name=name, path=[str(site)])))


def plugin_files(package: str, *, code: str = TRAP, **manifest: Any) -> dict[str, str]:
    """A package with a plugin and its manifest."""
    return {
        f"{package}/__init__.py": "",
        f"{package}/plugin.py": code,
        f"{package}/fairlead-plugin.json": json.dumps({"api": "1.0", **manifest}),
    }


def entry_points(name: str, package: str, kind: str = "tools") -> str:
    return f"[fairlead.{kind}]\n{name} = {package}.plugin\n"


def wheel(
    directory: Path,
    name: str,
    files: Mapping[str, str],
    *,
    version: str = "1.0",
    requires: tuple[str, ...] = (),
    entry_points: str = "",
) -> Path:
    """Write a wheel."""
    site = directory / ".sites" / f"{name}-{version}"
    made = install(site, name, files, version=version, requires=requires, entry_points=entry_points)
    return repack(made, directory)


def names_in(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def run_from(environment: Environment, code: str) -> str:
    """Run code with an environment and the standard library alone; what it printed."""
    head = "import sys\nsys.path[:0] = sys.argv[1:]\n"
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", head + code, *map(str, environment.paths)]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@frozen
class Unpacker:
    """An installer for tests that need none: it unpacks the plugin's own wheel, and resolves nothing else."""

    name: str = "unpacker"

    async def build(self, project: Path, work: Path, sources: Sources) -> Path:
        raise AssertionError("nothing is built here")

    async def resolve(self, needs: Sequence[str], work: Path, sources: Sources) -> tuple[Pin, ...]:
        url = needs[0].partition(" @ ")[2]
        path = Path(url.removeprefix("file://"))
        return (Pin(path.name.split("-")[0].replace("_", "-"), "", (f"sha256:{hash_file(path)}",), url),)

    async def install(self, requirements: str, site: Path, work: Path, sources: Sources) -> None:
        url = requirements.split(" \\", maxsplit=1)[0].partition(" @ ")[2]
        with zipfile.ZipFile(url.removeprefix("file://")) as archive:
            archive.extractall(site)
