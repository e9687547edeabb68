"""What `fairlead new` writes, in an environment of its own: it builds, keeps its promises, and is used by a person."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..workspace import Environment, install, uv

if TYPE_CHECKING:
    from ..conftest import MakeEnvironment

pytestmark = pytest.mark.packaging

KINDS = ("channel", "tool", "provider", "memory", "policy")
KIT_NEEDS = ("pytest", "pytest-trio", "hypothesis", "hatchling")
"""What an author has beside ours: the extra ``fairlead-core[testing]``, and what builds the project."""
CONFIG = """\
data_dir = "data"
[models]
default = "my-echo/echo"
[providers.my-echo]
isolation = "host"
[tools.my-greeter]
isolation = "process"
greeting = "Ahoy"
[policies.rules]
rules = [{ name = "all", effect = "allow", actions = ["tool_call"], resources = ["*"], layer = "app" }]
"""


@pytest.fixture(scope="module")
def environment(make_environment: MakeEnvironment) -> Environment:
    made = make_environment()
    pins = [f"{name}=={version(name)}" for name in KIT_NEEDS]
    uv("pip", "install", "--quiet", "--python", made.python, *pins)
    return made


def fairlead(environment: Environment, directory: Path, *arguments: str | Path, code: int = 0) -> str:
    """What the command of that environment prints, with the code that it must end with."""
    env = {"PATH": f"{environment.bin}:{os.environ['PATH']}", "HOME": str(directory), "LANG": "C.UTF-8"}
    env |= {name: os.environ[name] for name in os.environ if name.startswith(("UV_", "SSL_", "PIP_"))}
    done = subprocess.run(
        [environment.bin / "fairlead", *arguments],
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert code == done.returncode, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(project: Path, target: Path) -> Path:
    uv("build", "--quiet", "--wheel", "--out-dir", target, project)
    (wheel,) = target.glob(f"{project.name.replace('-', '_')}-*.whl")
    return wheel


FORMS = [*((kind, "trio") for kind in KINDS), ("channel", "asyncio"), ("tool", "asyncio")]


@pytest.mark.parametrize(("kind", "runtime"), FORMS)
def test_new_project_is_silver_at_once(kind: str, runtime: str, environment: Environment, tmp_path: Path) -> None:
    """It builds there, its tests pass, its promises are kept, and what it lacks for gold is named.

    On asyncio each check is kept in a process of its own.
    """
    fairlead(environment, tmp_path, "new", kind, "my-thing", "--runtime", runtime)
    printed = fairlead(environment, tmp_path, "check", "fairlead-my-thing", "--tier", "silver", "--yes", "--json")
    found: dict[str, Any] = json.loads(printed)
    assert "silver" == found["tier"], found
    assert {"stable", "own-tests"} >= {*found["missing"]} - {"strict"}, found
    kit = next(each for each in found["rules"] if each["rule"] == "kit")
    assert kit["seen"].endswith("checks kept")


def test_tool_and_model_of_two_new_projects_answer_a_person(environment: Environment, tmp_path: Path) -> None:
    """The wheel of the one is added with an environment of its own, that of the other is installed and trusted."""
    for kind, name in (("tool", "my-greeter"), ("provider", "my-echo")):
        fairlead(environment, tmp_path, "new", kind, name)
    wheels = {name: build(tmp_path / f"fairlead-{name}", tmp_path / "wheels") for name in ("my-greeter", "my-echo")}
    install(environment, wheels["my-echo"])
    (tmp_path / "fairlead.toml").write_text(CONFIG, "utf-8")
    added = fairlead(environment, tmp_path, "plugins", "add", wheels["my-greeter"], "--no-index", "--yes")
    assert "fairlead-my-greeter 0.1.0 has an environment of its own" in added
    shown = json.loads(fairlead(environment, tmp_path, "plugins", "show", "my-greeter", "--json"))
    assert [("tools", "1.0", True)] == [(each["kind"], each["api"], each["enabled"]) for each in shown]
    said = fairlead(environment, tmp_path, "chat", 'my_greeter {"who": "Ann"}')
    assert "Ahoy, Ann!" in said


def test_new_project_is_checked_in_a_fresh_environment_from_wheels_alone(
    environment: Environment, wheelhouse: Path, tmp_path: Path
) -> None:
    """Where an index cannot be had, the directory of wheels must have everything; what it lacks is told."""
    fairlead(environment, tmp_path, "new", "policy", "my-thing")
    options = ("--fresh", "--no-index", "--find-links", str(wheelhouse), "--yes")
    fairlead(environment, tmp_path, "check", "fairlead-my-thing", *options, code=2)
