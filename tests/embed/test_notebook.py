"""The notebook of the examples in a real kernel."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client import BlockingKernelClient, KernelManager  # type: ignore[attr-defined]  # not listed, but documented

from .programs import EXAMPLES, LIMIT

NOTEBOOK = EXAMPLES / "notebook.ipynb"
SHOWN = [
    "",
    "good morning\n",
    "stock: 12 of tea\n",
    "one| word| after| the| other|",
    "stock: 10 of tea\n12 things were said\n",
]


def cells() -> list[str]:
    """The code of the notebook."""
    found = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


class Kernel:
    """A kernel, and somebody who runs cells in it."""

    def __init__(self, home: Path) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(cwd=str(home), env={**os.environ, "HOME": str(home), "IPYTHONDIR": str(home / "i")})
        self.client: BlockingKernelClient = self._manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LIMIT)

    def run(self, code: str) -> str:
        """What a cell prints; an `AssertionError` with its traceback where it fails."""
        said: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                said.append(content["text"])
            assert message["msg_type"] != "error", "\n".join(content["traceback"])

        self.client.execute_interactive(code, timeout=LIMIT, output_hook=hear)
        return "".join(said)

    def interrupt_when(self, said: str, code: str) -> str:
        """Start a cell, interrupt it as the stop button does once it has said this; the name of its error."""
        self.client.execute(code, stop_on_error=False)
        name = ""
        while True:
            message = self.client.get_iopub_msg(timeout=LIMIT)
            if message["msg_type"] == "stream" and said in message["content"]["text"]:
                self._manager.interrupt_kernel()
            if message["msg_type"] == "error":
                name = message["content"]["ename"]
            if message["content"].get("execution_state") == "idle" and name:
                return name

    def restart(self) -> float:
        """As from the menu: politely. Seconds until the kernel is there again."""
        began = time.monotonic()
        self._manager.restart_kernel(now=False)
        self.client.wait_for_ready(timeout=LIMIT)
        return time.monotonic() - began

    def close(self) -> None:
        self.client.stop_channels()
        self._manager.shutdown_kernel()


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    made = Kernel(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_cells_run_again_and_after_a_restart(kernel: Kernel) -> None:
    """They block, await and stream in the kernel's own running loop; nothing is closed by hand."""
    first = [kernel.run(code) for code in cells()]
    assert SHOWN == first
    again = [kernel.run(code) for code in cells()]
    assert SHOWN == again
    threads = "import threading; print(sum(thread.name == 'fairlead' for thread in threading.enumerate()))"
    assert "1\n" == kernel.run(threads), "the app that was replaced has ended"
    assert kernel.restart() < LIMIT / 2
    assert SHOWN == [kernel.run(code) for code in cells()]


HANGING = """
import asyncio
async def hang() -> str:
    "Hang."
    print("hangs", flush=True)
    while True:  # the kernel sees the stop button where its loop wakes
        await asyncio.sleep(0.05)
slow = embed.start(CONFIG, tools=[hang])
await slow.asyncio.ask("use hang {}", session="s")
"""
BLOCKING = """
import threading
def block() -> str:
    "Block."
    print("hangs", flush=True)
    threading.Event().wait()
slow = embed.start(CONFIG, tools=[block])
slow.ask("use block {}", session="s")
"""


@pytest.mark.parametrize("code", [HANGING, BLOCKING], ids=["awaited", "blocking"])
def test_stop_button_cancels_the_turn(kernel: Kernel, code: str) -> None:
    """The cell ends, the kernel goes on, and the session is free again."""
    kernel.run(cells()[0])
    assert kernel.interrupt_when("hangs", code) in ("KeyboardInterrupt", "CancelledError")
    assert "hello\n" == kernel.run('print((await slow.asyncio.ask("say hello", session="s")).text)')
