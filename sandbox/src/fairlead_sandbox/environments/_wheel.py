"""Wheels from outside, looked at before any tool unpacks them."""

from __future__ import annotations

import base64
import csv
import hashlib
import stat
import zipfile
import zlib
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path, PurePosixPath

from attrs import frozen

from fairlead.errors import PluginLoadError
from fairlead_sandbox.environments._files import normal
from fairlead_sandbox.environments._tree import hash_file

__all__ = ["Wheel", "examine_wheel"]

_MOST_BYTES = 4 << 30
"""Unpacked. The largest wheels of machine learning have 3 GB."""
_MOST_FILES = 100_000
_BUFFER = 1 << 20
_UNHASHED = ("RECORD", "RECORD.jws", "RECORD.p7s")


@frozen
class Wheel:
    """A wheel that is what it says."""

    path: Path
    name: str
    """Normal (PEP 503)."""
    version: str
    sha256: str
    metadata: str
    """The name of its ``.dist-info``."""

    @property
    def root(self) -> zipfile.Path:
        """What is in it."""
        return zipfile.Path(self.path)

    @property
    def distribution(self) -> Distribution:
        """Its metadata, while it is still packed."""
        return PathDistribution(zipfile.Path(self.path, f"{self.metadata}/"))


def examine_wheel(path: Path) -> Wheel:
    """Look through a wheel; nothing is unpacked. Reads all of it once.

    `PluginLoadError`: it is not there, is damaged, holds what its record does not (or the other way round), would write
    outside of its directory, is not the distribution that its name says, or is for another machine.
    """
    name, version = _parse_name(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _refuse_hostile(path, entries)
            metadata = _metadata(path, entries)
            _verify(path, archive, metadata)
        wheel = Wheel(path, name, version, hash_file(path), metadata)
        said = wheel.distribution.metadata
        if normal(said["Name"] or "") != name or _version(said["Version"]) != version:
            raise _refusal(path, f"says that it is {said['Name']} {said['Version']}", "ask its authors for a whole one")
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, KeyError) as error:
        raise _refusal(path, f"cannot be read: {error}", "get it again: it is damaged") from error
    return wheel


def _refusal(path: Path, problem: str, next_step: str) -> PluginLoadError:
    return PluginLoadError(f"the wheel {path.name} {problem}", next_step=next_step, distribution=path.name)


def _parse_name(path: Path) -> tuple[str, str]:
    from packaging.tags import sys_tags  # noqa: PLC0415  # 30 ms that only an installation should pay
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename  # noqa: PLC0415  # the same

    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise _refusal(
            path, f"has no name of a wheel: {error}", "give it the name that it was published with"
        ) from None
    if not path.is_file():
        raise _refusal(path, f"is not there: {path}", "ls *.whl")
    if tags.isdisjoint(sys_tags()):
        raise _refusal(path, "is for another Python or another kind of machine", "get the wheel that is for this one")
    return name, str(version)


def _version(text: str | None) -> str:
    from packaging.version import Version  # noqa: PLC0415  # see above

    return str(Version(text or ""))


def _refuse_hostile(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        parts = PurePosixPath(name)
        # zipfile cuts a name at NUL; the whole of it is still there.
        if parts.is_absolute() or ".." in parts.parts or "\\" in name or ":" in name or entry.orig_filename != name:
            raise _refusal(path, f"would write outside of its directory: {entry.orig_filename!r}", "do not install it")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refusal(path, f"holds what is no file: {name!r}", "do not install it")
        if str(parts) in seen:
            raise _refusal(path, f"holds {name!r} twice", "do not install it")
        seen.add(str(parts))
    if len(entries) > _MOST_FILES or sum(entry.file_size for entry in entries) > _MOST_BYTES:
        raise _refusal(path, f"is larger than {_MOST_FILES} files or {_MOST_BYTES >> 30} GiB", "do not install it")


def _metadata(path: Path, entries: list[zipfile.ZipInfo]) -> str:
    tops = {PurePosixPath(entry.filename).parts[0] for entry in entries if entry.filename.strip("/")}
    found = sorted(top for top in tops if top.endswith(".dist-info"))
    if len(found) != 1:
        raise _refusal(path, f"has {len(found)} folders of metadata, expected one", "ask its authors for a whole one")
    return found[0]


def _verify(path: Path, archive: zipfile.ZipFile, metadata: str) -> None:
    """Every file stands in RECORD with its hash, and every line of RECORD has its file."""
    text = archive.read(f"{metadata}/RECORD").decode("utf-8")
    recorded = {row[0]: row[1] for row in csv.reader(text.splitlines()) if len(row) > 1}
    free = {f"{metadata}/{name}" for name in _UNHASHED}
    names = {entry.filename for entry in archive.infolist() if not entry.is_dir()}
    if strays := sorted(names.symmetric_difference(recorded) - free):
        raise _refusal(path, f"differs from its own record: {strays[0]!r}", "get it again: it is damaged")
    for name in sorted(names - free):
        kind, _, expected = recorded[name].partition("=")
        if kind not in ("sha256", "sha384", "sha512"):
            raise _refusal(path, f"has no safe hash of {name!r}", "ask its authors for a whole one")
        found = hashlib.new(kind)
        with archive.open(name) as reader:
            while chunk := reader.read(_BUFFER):
                found.update(chunk)
        if base64.urlsafe_b64encode(found.digest()).rstrip(b"=").decode("ascii") != expected:
            raise _refusal(path, f"holds another {name!r} than its record says", "get it again: it is damaged")
