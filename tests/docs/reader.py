"""A reader who does what a page says: saves its files, runs its programs, types its commands."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlead import Secret, config
from fairlead.plugins import installed
from fairlead.wire import build_validator, check, loads

from ..workspace import uv
from .blocks import ROOT, Block, pattern, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT = 30.0
"""Seconds for one program that takes one or two, on a busy machine."""
STAND_IN = "a-secret-that-stands-in-for-yours"
PORT = "8080"
"""The port in the pages; a free one is used instead."""
LOCAL_MODEL = "http://127.0.0.1:11434/v1"
"""The model server in the pages; one that answers from a script is used instead."""


class Reader:
    """Reads one page, in a directory of its own, with nothing of this machine but the programs."""

    limit = LIMIT

    def __init__(self, directory: Path, programs: Path = Path(sys.executable).parent) -> None:
        self.directory = directory
        self._programs = programs
        self._started: list[tuple[str, subprocess.Popen[str]]] = []
        self._variables: dict[str, str] = {}
        self._port = ""
        self._model = ""

    def do(self, block: Block) -> None:
        """What a reader does with this block; an `AssertionError` where it does not work."""
        acts = {"python": self._python, "toml": self._toml, "console": self._console, "json": self._json}
        if not block.skipped and block.language in acts:
            self._save(block)
            acts[block.language](block)

    def close(self) -> None:
        """Stop what was started, politely; it must end well."""
        for _, process in self._started:
            process.send_signal(signal.SIGTERM)
        for command, process in self._started:
            output, _ = process.communicate(timeout=self.limit)
            assert process.returncode == 0 or process.stdin, f"{command}\n{output}"

    # -- blocks

    def _save(self, block: Block) -> None:
        if block.file:
            path = self.directory / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._here(block.text), "utf-8")

    def _python(self, block: Block) -> None:
        if block.file:
            compile(block.text, block.place, "exec")
            return
        self._type(f"python - <<'PYTHON'\n{self._here(block.text)}PYTHON", block)

    def _toml(self, block: Block) -> None:
        if "# fragment\n" in block.text or Path(block.file).name == "pyproject.toml":
            tomllib.loads(block.text)
            return
        path = self.directory / (block.file or f"line-{block.line}.toml")
        path.write_text(self._here(block.text), "utf-8")
        check_config(path, {**self._variables, **stand_ins(block.text)})

    def _json(self, block: Block) -> None:
        value = loads(block.text)
        if block.directive == "schema":
            check(block.argument, value)

    def _console(self, block: Block) -> None:
        typed = list(block.commands())
        for place, (command, shown) in enumerate(typed):
            if variable := re.fullmatch(r"export (\w+)=(\S+)", command):
                self._variables[variable[1]] = self._here(variable[2])
            elif command.endswith(" &"):
                self._start(command.removesuffix(" &"), shown, block)
            else:
                expected = int(block.argument) if block.directive == "exits with" and place == len(typed) - 1 else 0
                output = self._type(command, block, expected)
                found = tidy(output)
                wanted = self._here(shown)
                problem = f"{block.place}: {command}\n--- the page\n{wanted}\n--- found\n{found}"
                assert not shown or pattern(wanted).fullmatch(found), problem

    # -- programs

    def _type(self, command: str, block: Block, expected: int = 0) -> str:
        if command == "pip install .":
            return self._install()
        done = subprocess.run(
            ["sh", "-c", self._here(command)],
            cwd=self.directory,
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self.limit,
            check=False,
        )
        assert expected == done.returncode, f"{block.place}: {command}\n{done.stdout}"
        return done.stdout

    def _install(self) -> str:
        """Install the page's project where only its reader finds it."""
        uv("pip", "install", "--quiet", "--no-deps", "--target", self.directory / "site", self.directory)
        self._variables["PYTHONPATH"] = str(self.directory / "site")
        return ""

    def _start(self, command: str, shown: str, block: Block) -> None:
        """Start a program that goes on, and wait until it has said what the page shows."""
        process = subprocess.Popen(
            ["sh", "-c", f"exec {self._here(command)}"],
            cwd=self.directory,
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append((command, process))
        assert process.stdout is not None
        said, wanted, end = "", self._here(shown), time.monotonic() + self.limit
        while not pattern(wanted).search(said):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
            more = os.read(process.stdout.fileno(), 65536).decode() if ready else ""
            assert more, f"{block.place}: {command}\n--- the page\n{wanted}\n--- found\n{said}"
            said += more

    def _environ(self) -> dict[str, str]:
        return {
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            "USER": "ann",
            "LOGNAME": "ann",
            "FAIRLEAD_DATA": str(self.directory / "data"),
            **self._variables,
        }

    def _here(self, text: str) -> str:
        """The text with a free port, and a model server, of this machine."""
        if PORT in text and not self._port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self._port = str(probe.getsockname()[1])
        if LOCAL_MODEL in text and not self._model:
            self._model = self._serve_model()
        text = text.replace(PORT, self._port) if self._port else text
        return text.replace(LOCAL_MODEL, self._model) if self._model else text

    def _serve_model(self) -> str:
        """Start a server that calls `calculate` once and then says the result; its URL."""
        command = [sys.executable, str(ROOT / "tests" / "providers" / "fake_servers.py"), "openai"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._started.append(("the model server", process))
        assert process.stdout is not None
        return process.stdout.readline().strip()


def stand_ins(text: str) -> dict[str, str]:
    """A value for each variable that a configuration refers to."""
    return dict.fromkeys(re.findall(r'env = "(\w+)"', text), STAND_IN)


def check_config(path: Path, environ: Mapping[str, str]) -> None:
    """The file loads, and its tables of installed plugins match their manifests."""
    loaded = config.load(path, environ=environ)
    manifests = {(one.kind, one.name): one.manifest for one in installed() if one.manifest is not None}
    for table in loaded.plugins:
        if (manifest := manifests.get((table.kind, table.entry_point))) is None:
            continue
        schema = manifest.settings or {"type": "object", "additionalProperties": False}
        faults = [error.message for error in build_validator(schema).iter_errors(_plain(table.options))]
        assert [] == faults, f"{path}: [{table.kind}.{table.name}]"


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
