"""Other packages beside ours, for `sandbox.py`: each in an environment of its own, asked through pipes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import trio
from sandbox_table import (
    Act,
    Figures,
    Row,
    median,
    milliseconds,
    quantile,
)

PINS = {
    "llm-sandbox": ("llm-sandbox[docker]==0.3.46",),
    "swe-rex": ("swe-rex==1.4.0", "aiohttp==3.14.5"),  # it imports aiohttp and does not ask for it
}
ENDING_SECONDS = 30.0


class Peers:
    """Their processes, each with a container of its own ready for calls."""

    def __init__(self, cache: Path, image: str) -> None:
        self._cache, self._image = cache, image
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def start(self) -> None:
        """Make the environments that are not there, and start the programs."""
        for name, pins in PINS.items():
            python = self._environment(name, pins)
            command = [str(python), str(Path(__file__).with_name("sandbox_peer.py")), name, self._image]
            environment = {**os.environ, "SWE_REX_LOG_STREAM_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore"}
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                bufsize=1,
                env=environment,
            )
            print(f"beside {', '.join(pins)}")
        print(flush=True)

    def _environment(self, name: str, pins: tuple[str, ...]) -> Path:
        place = self._cache / "-".join(pin.replace("==", "-") for pin in pins)
        python = place / "bin" / "python"
        if not (place / "ready").exists():
            subprocess.run(["uv", "venv", "--quiet", "--clear", str(place)], check=True)
            subprocess.run(["uv", "pip", "install", "--quiet", "--python", str(python), *pins], check=True)
            (place / "ready").touch()
        return python

    def acts(self, every: int) -> list[Act]:
        """What they do in each round."""
        return [
            Act(f"{name} {word}", self._asker(name, word), max(every // 2, 1) if word == "call" else every)
            for name in PINS
            for word in ("call", "start", "late")
        ]

    async def load(self, rates: dict[str, float]) -> None:
        """Many callers, one package after the other: their calls in a second go to `rates`."""
        for name in PINS:
            try:
                rates[name] = await self._asker(name, "load")()
            except AssertionError as error:
                print(f"{name} load failed: {error}")

    def _asker(self, name: str, word: str) -> Callable[[], Awaitable[float]]:
        async def run() -> float:
            process = self._processes[name]
            return await trio.to_thread.run_sync(_ask, process, word)

        return run

    def close(self) -> None:
        """The end of their input; they remove their containers."""
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes.values():
            try:
                process.wait(ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ask(process: subprocess.Popen[str], word: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{word}\n")
    for line in process.stdout:
        if line.startswith("=> "):
            answer = json.loads(line.removeprefix("=> "))
            assert "figure" in answer, answer["error"]
            return float(answer["figure"])
    raise AssertionError(f"it ended with status {process.wait()}")


def peer_rows(figures: Figures, rates: Mapping[str, float]) -> list[Row]:
    """Each against ours; `rates`: calls in a second with many callers, ours under ``ours``."""
    rows = []
    for name in PINS:
        for word, ours, what in (("call", "call", "a call"), ("start", "answered", "from nothing to the first answer")):
            value, unit = median(figures, f"{name} {word}"), median(figures, ours)
            if value is not None and unit is not None:
                rows.append(Row(f"{name}, {what}", milliseconds(value), f"{value / unit:.1f} x ours"))
        if late := figures.get(f"{name} late"):
            rows.append(Row(f"{name}, late after a timeout, p95", milliseconds(quantile(late, 0.95))))
        if name in rates and "ours" in rates:
            rows.append(
                Row(f"{name}, 32 callers", f"{rates[name]:.1f}/s", f"{rates['ours'] / rates[name]:.1f} x with ours")
            )
    return rows
