"""A wheel from what is installed: what an installer makes of it is what was there."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead.errors import PluginLoadError
from fairlead_sandbox.environments import repack

from .packages import find, install, names_in


def installed(wheel: Path, site: Path) -> Path:
    """Installed by uv, which checks the record."""
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


def test_core_of_a_checkout_becomes_its_wheel(tmp_path: Path) -> None:
    """With the schemas, which lie beside it in a checkout; it says where it came from no more."""
    wheel = repack(importlib.metadata.distribution("fairlead-core"), tmp_path)
    assert "fairlead_core-0.1.0-py3-none-any.whl" == wheel.name
    site = installed(wheel, tmp_path / "site")
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import fairlead, json; from fairlead.wire import schema_names;"
        "print(json.dumps([fairlead.__file__, schema_names()]))"
    )
    done = subprocess.run([sys.executable, "-c", code, site], capture_output=True, text=True, check=True)
    file, names = json.loads(done.stdout)
    assert Path(file).is_relative_to(site)
    assert "plugin-manifest" in names
    assert "editable" not in (find(site, "fairlead-core").read_text("direct_url.json") or "")


def test_compiled_distribution_keeps_its_platform(tmp_path: Path) -> None:
    """The tags come from the wheel that was installed."""
    wheel = repack(importlib.metadata.distribution("rpds-py"), tmp_path)
    assert "-py3-none-any.whl" not in wheel.name
    assert [name for name in names_in(wheel) if name.endswith(".so")]
    assert find(installed(wheel, tmp_path / "site"), "rpds-py").files


def test_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    """So that its hash can be locked."""
    made = [
        repack(install(tmp_path / each, "twin", {"twin.py": "x = 1\n", "a,b.txt": ""}), tmp_path / f"{each}-wheels")
        for each in ("one", "two")
    ]
    assert made[0].read_bytes() == made[1].read_bytes()
    assert "a,b.txt" in [str(each) for each in find(installed(made[0], tmp_path / "site"), "twin").files or ()]


def test_what_tells_of_the_installation_stays_behind(tmp_path: Path) -> None:
    """Whoever installs the wheel writes it anew."""
    info = "local-1.0.dist-info"
    files = {f"{info}/{name}": "{}" for name in ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")}
    wheel = repack(install(tmp_path, "local", {"local.py": "", "local.pth": "import local\n", **files}), tmp_path)
    assert {"local.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"} == set(names_in(wheel))


def test_distribution_that_never_was_a_wheel_is_refused(tmp_path: Path) -> None:
    """Its metadata is of another form."""
    info = tmp_path / "ancient.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: ancient\nVersion: 1.0\n")
    with pytest.raises(PluginLoadError, match="was installed without a wheel"):
        repack(find(tmp_path, "ancient"), tmp_path)
