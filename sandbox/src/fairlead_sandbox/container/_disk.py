"""File systems in files, and directories of strangers. The functions block: call them in a worker thread."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

from fairlead.errors import FairleadError

__all__ = ["WorkspaceError", "erase", "make_file_system", "mount_file_system", "unmount_file_system", "walk"]

BYTES_PER_FILE = 16 * 1024
"""As mke2fs.conf(5) has it."""
LEAST_FILES = 256
NEEDED = "sudo apt install e2fsprogs mount"


class WorkspaceError(FairleadError):
    """A workspace is not there, is used by another process, or could not be made; the files are as they were."""


def make_file_system(image: Path, size_bytes: int) -> None:
    """An empty ext4 file system in a sparse file."""
    with image.open("xb") as file:
        file.truncate(size_bytes)
    files = max(size_bytes // BYTES_PER_FILE, LEAST_FILES)
    # Without a journal: what a crash of the machine takes from a sandbox's files is worth less than their writes.
    # Without reserved blocks: everybody in there has the same right to them.
    options = [
        "-q",
        "-F",
        "-O",
        "^has_journal",
        "-m",
        "0",
        "-N",
        str(files),
        "-E",
        "root_owner=0:0,lazy_itable_init=1,nodiscard",
    ]
    _run(["mkfs.ext4", *options, str(image)])


def mount_file_system(image: Path, place: Path) -> None:
    """Mount it, repaired where the machine crashed; mounted already, by a process that ended, is fine."""
    if not os.path.ismount(place):
        _run(["e2fsck", "-p", str(image)], fine=(0, 1))
        _run(["mount", "-o", "loop,nosuid,nodev,noatime", str(image), str(place)])


def unmount_file_system(place: Path) -> None:
    """Nothing mounted is fine. The loop device goes with the mount, once no container has it."""
    if os.path.ismount(place):
        _run(["umount", str(place)])


def _run(command: list[str], fine: tuple[int, ...] = (0,)) -> None:
    program = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise WorkspaceError(f"{command[0]} is not installed", next_step=NEEDED)
    done = subprocess.run(  # noqa: S603  # our own words and generated names
        [program, *command[1:]], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode not in fine:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise WorkspaceError(f"{command[0]} ended with status {done.returncode}: {said}")


def erase(directory: Path) -> None:
    """All of it; no symbolic link is followed (`shutil.rmtree.avoids_symlink_attacks`)."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)


def walk(directory: Path) -> tuple[int, int]:
    """Bytes on the disk, and files, below a directory; nothing is followed, and what goes away meanwhile counts 0."""
    used = files = 0
    for _, directories, names, top in os.fwalk(directory, follow_symlinks=False):
        for name in (*directories, *names):
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=top, follow_symlinks=False)
                used += found.st_blocks * 512
                files += not stat.S_ISDIR(found.st_mode)
    return used, files
