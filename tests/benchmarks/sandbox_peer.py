"""One of the others, in an environment of its own: does what `sandbox_peers.py` asks on standard input.

    python sandbox_peer.py NAME IMAGE

A line is one word: ``call``, ``start``, ``late`` or ``load``. The answer is a line that begins with ``=> ``, and then
one JSON object: seconds (for ``load``, calls in a second), or the error. A call is a Python that prints a word, in a
container that is there: neither of them has a shorter one. A flood is not asked for: both keep all output in memory.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

CALLERS, CONTAINERS, LOAD_SECONDS = 32, 4, 4.0
SPIN_SECONDS = 0.1
CODE, SPIN = "print('done')", "while True: pass"


class Other(Protocol):
    """What each of them can do."""

    def open(self) -> Any:
        """A container of theirs."""

    def run(self, container: Any) -> None:
        """One call. Raises what went wrong."""

    def spin(self, container: Any) -> None:
        """One that must end by itself after `SPIN_SECONDS`."""

    def close(self, container: Any) -> None: ...

    def load(self, containers: list[Any]) -> int:
        """All callers for `LOAD_SECONDS`: the calls that were answered."""


class Bin:
    """A directory with one program in it, which the image lacks; removed with this object."""

    def __init__(self, name: str, text: str) -> None:
        self._kept = tempfile.TemporaryDirectory(prefix="fairlead-benchmark-")
        self.path = self._kept.name
        Path(self.path).chmod(0o755)
        program = Path(self.path) / name
        program.write_text(text)
        program.chmod(0o755)


class LlmSandbox:
    """llm-sandbox: copies a file into the container and executes it there."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._bin = Bin("python", '#!/bin/sh\nexec python3 "$@"\n')

    def open(self) -> Any:
        from llm_sandbox import (  # type: ignore[import-not-found]  # lies in its own environment  # noqa: PLC0415  # as the line says
            SandboxSession,
        )

        volumes = {self._bin.path: {"bind": "/usr/local/bin", "mode": "ro"}}
        made = {"network_mode": "none", "command": ["sleep", "600"], "init": True, "volumes": volumes}
        session = SandboxSession(
            lang="python",
            image=self._image,
            skip_environment_setup=True,
            workdir="/tmp",  # noqa: S108  # in the container
            runtime_configs=made,
        )
        session.open()
        return session

    def run(self, container: Any) -> None:
        done = container.run(CODE)
        assert "done" in done.stdout, done

    def spin(self, container: Any) -> None:
        from llm_sandbox.exceptions import (  # type: ignore[import-not-found]  # as above  # noqa: PLC0415  # as above
            SandboxTimeoutError,
        )

        try:
            container.run(SPIN, timeout=SPIN_SECONDS)
        except SandboxTimeoutError:
            return
        raise AssertionError("it did not end")

    def close(self, container: Any) -> None:
        container.close()

    def load(self, containers: list[Any]) -> int:
        """Each container has one call at a time, as ours."""
        locks = [threading.Lock() for _ in containers]
        done: list[int] = []
        until = time.monotonic() + LOAD_SECONDS

        def caller(number: int) -> None:
            place = number % len(containers)
            while time.monotonic() < until:
                with locks[place]:
                    self.run(containers[place])
                done.append(number)

        threads = [threading.Thread(target=caller, args=[number]) for number in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(done)


class SweRex:
    """swe-rex: a web server in the container that starts programs. The image lacks it, so its packages are mounted."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._runner = asyncio.Runner()
        self._bin = Bin("swerex-remote", "#!/usr/bin/python3\nfrom swerex.server import main\nmain()\n")

    def open(self) -> Any:
        from swerex.deployment.docker import (  # type: ignore[import-not-found]  # as above  # noqa: PLC0415  # as above
            DockerDeployment,
        )

        site = next(Path(sys.prefix).glob("lib/python3*/site-packages"))
        mounts = ["-v", f"{site}:/peer:ro", "-v", f"{self._bin.path}:/usr/local/bin:ro", "-e", "PYTHONPATH=/peer"]
        deployment = DockerDeployment(image=self._image, pull="never", docker_args=mounts)
        self._runner.run(deployment.start())
        return deployment

    async def _execute(self, container: Any, code: str, seconds: float) -> Any:
        from swerex.runtime.abstract import (  # type: ignore[import-not-found]  # as above  # noqa: PLC0415  # as above
            Command,
        )

        return await container.runtime.execute(Command(command=["python3", "-c", code], timeout=seconds))

    def run(self, container: Any) -> None:
        done = self._runner.run(self._execute(container, CODE, 30.0))
        assert "done" in done.stdout, done

    def spin(self, container: Any) -> None:
        from swerex.exceptions import (  # type: ignore[import-not-found]  # as above  # noqa: PLC0415  # as above
            CommandTimeoutError,
        )

        try:
            self._runner.run(self._execute(container, SPIN, SPIN_SECONDS))
        except CommandTimeoutError:
            return
        raise AssertionError("it did not end")

    def close(self, container: Any) -> None:
        self._runner.run(container.stop())

    def load(self, containers: list[Any]) -> int:
        return self._runner.run(self._load(containers))

    async def _load(self, containers: list[Any]) -> int:
        done: list[int] = []
        until = time.monotonic() + LOAD_SECONDS

        async def caller(number: int) -> None:
            while time.monotonic() < until:
                await self._execute(containers[number % len(containers)], CODE, 30.0)
                done.append(number)

        await asyncio.gather(*(caller(number) for number in range(CALLERS)))
        return len(done)


def start(other: Other) -> float:
    """From nothing to the first answer."""
    began = time.perf_counter()
    container = other.open()
    try:
        other.run(container)
        return time.perf_counter() - began
    finally:
        other.close(container)


def late(other: Other) -> float:
    """In a container of its own: what ran too long may run on in there."""
    container = other.open()
    try:
        other.run(container)
        began = time.perf_counter()
        other.spin(container)
        return time.perf_counter() - began - SPIN_SECONDS
    finally:
        other.close(container)


def load(other: Other) -> float:
    """Calls in a second."""
    containers = [other.open() for _ in range(CONTAINERS)]
    try:
        began = time.perf_counter()
        return other.load(containers) / (time.perf_counter() - began)
    finally:
        for container in containers:
            other.close(container)


def main(name: str, image: str) -> None:
    others: dict[str, Callable[[str], Other]] = {"llm-sandbox": LlmSandbox, "swe-rex": SweRex}
    other = others[name](image)
    container = other.open()

    def call() -> float:
        began = time.perf_counter()
        other.run(container)
        return time.perf_counter() - began

    acts: dict[str, Callable[[], float]] = {
        "call": call,
        "start": lambda: start(other),
        "late": lambda: late(other),
        "load": lambda: load(other),
    }
    try:
        for line in sys.stdin:
            try:
                answer: dict[str, Any] = {"figure": acts[line.strip()]()}
            except Exception as error:  # noqa: BLE001  # it is told, and the others go on
                answer = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
            print("=>", json.dumps(answer), flush=True)
    finally:
        other.close(container)


if __name__ == "__main__":
    main(*sys.argv[1:])
