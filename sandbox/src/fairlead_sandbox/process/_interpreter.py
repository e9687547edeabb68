"""Which files an interpreter needs to start, so that nothing else of its prefix is shown to a plugin."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

from attrs import frozen

__all__ = ["Interpreter", "find_interpreter"]

QUESTION = """
import json, sysconfig
print(json.dumps([sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"),
    sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), sysconfig.get_config_var("LIBDIR") or ""]))
"""
SECONDS = 10


@frozen
class Interpreter:
    """A Python, and the parts of it that are not somebody's packages."""

    program: Path
    """The real file."""
    read: tuple[Path, ...]
    """Files and directories to show."""
    hidden: tuple[Path, ...]
    """Directories in them to cover: the packages that are installed there are not the plugin's."""


@functools.cache
def find_interpreter(program: str) -> Interpreter:
    """Ask the interpreter itself, once in the life of this process (20 ms); this one's answers are known.

    Blocks. `OSError` where it cannot be started, `ValueError` where it is no Python.
    """
    real = Path(program).resolve(strict=True)
    if real == Path(sys.executable).resolve():
        names = ("stdlib", "platstdlib", "purelib", "platlib")
        # The paths of the base and not of a virtual environment: that one's packages are not shown at all.
        base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
        base |= {"installed_base": sys.base_prefix, "installed_platbase": sys.base_exec_prefix}
        scheme = sysconfig.get_preferred_scheme("prefix")
        words = [sysconfig.get_path(name, scheme, base) for name in names]
        words.append(sysconfig.get_config_var("LIBDIR") or "")
    else:
        asked = subprocess.run(  # noqa: S603  # the interpreter that the caller is about to run a plugin with
            [real, "-I", "-S", "-c", QUESTION], capture_output=True, timeout=SECONDS, check=False, env={}
        )
        if asked.returncode:
            raise ValueError(f"{program!r} is no Python interpreter: {asked.stderr.decode('utf-8', 'replace')[-200:]}")
        words = json.loads(asked.stdout)
    return _describe(real, *(Path(word) for word in words))


def _describe(real: Path, stdlib: Path, platstdlib: Path, purelib: Path, platlib: Path, libdir: Path) -> Interpreter:
    shared = sorted(libdir.glob("libpython*.so*")) if libdir.name else []
    if (libdir.parent / "conda-meta").is_dir():
        shared = [libdir]  # its extension modules are linked with libraries that lie there
    read = dict.fromkeys(path for path in (real, stdlib, platstdlib, *shared) if path.exists())
    packages = dict.fromkeys((purelib, platlib, stdlib / "site-packages", stdlib.parent / "python3" / "dist-packages"))
    return Interpreter(real, tuple(read), tuple(path for path in packages if path.is_dir() and not path.is_symlink()))
