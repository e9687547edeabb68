"""Directories that are made at once or not at all, that nobody changes, and whose name is their content's digest."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = [
    "TAG",
    "compile_tree",
    "copy_file",
    "digest_of",
    "hash_file",
    "hash_tree",
    "held",
    "is_held",
    "link_tree",
    "locked",
    "place",
    "remove_tree",
    "seal",
    "temporary",
    "write_json",
]

TAG = f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
"""The Python and the machine for which compiled files hold."""
_BUFFER = 1 << 20
_FICLONE = 0x40049409
"""ioctl_ficlone(2): both files share their blocks until one of them is written."""
_LARGE = 1 << 16
"""Bytes from which on sharing blocks is worth a system call."""
_COMPILE_SECONDS = 120
_COMPILE = """
import os, py_compile, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (100, 100))
resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for root, folders, names in os.walk(sys.argv[1]):
    for name in names:
        if name.endswith(".py"):
            try:
                py_compile.compile(os.path.join(root, name), dfile=name, doraise=True, quiet=2, invalidation_mode=mode)
            except (py_compile.PyCompileError, ValueError, MemoryError, RecursionError, OSError):
                pass
"""


@contextlib.contextmanager
def locked(file: Path, *, alone: bool) -> Iterator[None]:
    """Hold a lock between processes, with others or alone; waits for it. It ends with the process that holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held(*files: Path) -> Iterator[None]:
    """Hold files that nobody writes, with others, so that `is_held` says so in every process."""
    descriptors: list[int] = []
    try:
        for file in files:
            descriptors.append(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
            fcntl.flock(descriptors[-1], fcntl.LOCK_SH)
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def is_held(file: Path) -> bool:
    """Whether somebody holds it."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def temporary(directory: Path) -> Iterator[Path]:
    """A directory that is gone at the end, unless it was moved. What a killed process leaves starts with ``.tmp-``."""
    directory.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".tmp-", dir=directory))
    try:
        yield made
    finally:
        remove_tree(made)


def place(made: Path, final: Path) -> None:
    """Give a finished directory its name. Where another maker was first, its directory stays: they are equal."""
    made.chmod(0o755)  # a directory that cannot be written cannot be moved to another parent
    try:
        made.rename(final)
    except OSError:
        if not final.is_dir():
            raise
        remove_tree(made)
    final.chmod(0o555)


def remove_tree(directory: Path) -> None:
    """Remove a directory, read-only or not, with all that is in it; nothing is no fault."""
    for root, _, _ in os.walk(directory):
        with contextlib.suppress(OSError):  # whoever may not change it fails below, with the reason
            os.chmod(root, 0o700)  # noqa: PTH101  # os.walk gives text
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)


def copy_file(source: Path, target: Path) -> None:
    """A copy that later changes of the source do not reach; large files share blocks where the file system can."""
    with source.open("rb") as reader, target.open("xb") as writer:
        if os.fstat(reader.fileno()).st_size < _LARGE or not _shares_blocks(writer.fileno(), reader.fileno()):
            shutil.copyfileobj(reader, writer, _BUFFER)
    target.chmod(0o555 if source.stat().st_mode & 0o111 else 0o444)


def _shares_blocks(target: int, source: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def hash_file(path: Path) -> str:
    """SHA-256 in hexadecimal."""
    with path.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def hash_tree(directory: Path, *, compiled: bool = False) -> dict[str, str]:
    """Each file below to its hash, with ``*`` in front where it can be executed.

    Compiled files follow from the sources and are not the same bytes each time; they count only where told so.
    """
    found: dict[str, str] = {}
    for root, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if compiled or name != "__pycache__"]
        for name in names:
            path = Path(root, name)
            mark = "*" if path.stat().st_mode & 0o111 else ""
            found[path.relative_to(directory).as_posix()] = mark + hash_file(path)
    return found


def digest_of(*parts: object) -> str:
    """SHA-256 over values as JSON; mappings are sorted."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def compile_tree(directory: Path) -> None:
    """Put compiled files beside the sources, for the Python that runs this; they are never checked against these.

    In a process of its own, with limits: the compiler is not meant for hostile sources. What does not compile is left
    to fail when it is imported; a compiler that crashes costs only time at start.
    """
    command = [sys.executable, "-I", "-S", "-c", _COMPILE, str(directory)]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(  # noqa: S603  # our own program, and a directory of ours
            command,
            env={"LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # its end tells that the process has ended, sooner than looking now and then
            stderr=subprocess.DEVNULL,
            timeout=_COMPILE_SECONDS,
            check=False,
        )


def seal(directory: Path) -> None:
    """Take away the right to write from all that is below, and let everybody read."""
    for root, _, names in os.walk(directory, topdown=False):
        for name in names:
            path = os.path.join(root, name)  # noqa: PTH118  # thousands of files
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                os.chmod(path, 0o555 if mode & 0o111 else 0o444)  # noqa: PTH101  # the same
        Path(root).chmod(0o555)


def link_tree(source: Path, target: Path) -> None:
    """Give every file of a sealed tree a second name, or a copy where the file system has no links left.

    What is there already stays: distributions share folders, and where they share a file it is the same.
    """
    for root, folders, names in os.walk(source):
        folder = target / Path(root).relative_to(source)
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        folders.sort()
        for name in names:
            try:
                os.link(os.path.join(root, name), folder / name)  # noqa: PTH118  # thousands of files
            except FileExistsError:
                continue
            except OSError:
                copy_file(Path(root, name), folder / name)


def write_json(path: Path, value: Mapping[str, object], *, durable: bool = False) -> None:
    """Replace a file by this value, at once. *durable*: it is on the disk before its name is."""
    draft = path.with_name(f".tmp-{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with draft.open("x", encoding="utf-8") as writer:
        json.dump(value, writer)
        if durable:
            writer.flush()
            os.fsync(writer.fileno())
    draft.replace(path)
