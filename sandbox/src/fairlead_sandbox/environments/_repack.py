"""A wheel from the files of an installed distribution: what the host has, as installers want it."""

from __future__ import annotations

import base64
import re
import zipfile
from collections.abc import Mapping
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from fairlead.errors import PluginLoadError
from fairlead_sandbox.environments._files import files_of, label_of, metadata_of
from fairlead_sandbox.environments._tree import hash_file, temporary

__all__ = ["record_text", "repack"]

_DAY_ONE = (1980, 1, 1, 0, 0, 0)
"""The first time that an archive can hold: the same files shall make the same wheel."""


def repack(distribution: Distribution, directory: Path) -> Path:
    """Write the wheel of an installed distribution into a directory; give its path.

    Editable installs too. The same files make the same bytes. Scripts that are no entry points, and files outside of
    the directory of packages, are not in it. `PluginLoadError`: it cannot be told which files are its own.
    """
    metadata = metadata_of(distribution)
    if not metadata.name.endswith(".dist-info"):
        raise PluginLoadError(
            f"{label_of(distribution)} was installed without a wheel, and cannot be made into one",
            next_step=f"pip install --force-reinstall {distribution.metadata['Name']}",
            distribution=label_of(distribution),
        )
    files = dict(sorted(files_of(distribution).found.items()))
    hashes = {name: hash_file(path) for name, path in files.items()}
    directory.mkdir(parents=True, exist_ok=True)
    final = directory / f"{_stem(distribution)}-{_tags(distribution)}.whl"
    with temporary(directory) as made:
        draft = made / final.name
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in files.items():
                _write(archive, name, path.read_bytes(), 0o755 if path.stat().st_mode & 0o111 else 0o644)
            _write(archive, f"{metadata.name}/RECORD", record_text(hashes, metadata.name).encode(), 0o644)
        draft.replace(final)
    return final


def record_text(hashes: Mapping[str, str], metadata: str) -> str:
    """The file RECORD for files and their SHA-256 in hexadecimal; sizes, which may be left out, are left out."""
    lines = []
    for name, found in sorted(hashes.items()):
        digest = base64.urlsafe_b64encode(bytes.fromhex(found.lstrip("*"))).rstrip(b"=").decode("ascii")
        quoted = '"' + name.replace('"', '""') + '"' if re.search('[",\n]', name) else name
        lines.append(f"{quoted},sha256={digest},")
    return "\n".join([*lines, f"{metadata}/RECORD,,", ""])


def _write(archive: zipfile.ZipFile, name: str, content: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(str(PurePosixPath(name)), _DAY_ONE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (0o100000 | mode) << 16
    archive.writestr(entry, content)


def _stem(distribution: Distribution) -> str:
    name = re.sub(r"[-_.]+", "_", distribution.metadata["Name"]).lower()
    return f"{name}-{distribution.version.replace('-', '_')}"


def _tags(distribution: Distribution) -> str:
    """``py3-none-any``, from the lines ``Tag:`` of the wheel that was installed; several are joined with dots."""
    tags = re.findall(r"^Tag:\s*([\w.]+)-([\w.]+)-([\w.]+)\s*$", distribution.read_text("WHEEL") or "", re.MULTILINE)
    if not tags:
        return "py3-none-any"
    return "-".join(".".join(dict.fromkeys(tag[place] for tag in tags)) for place in range(3))
