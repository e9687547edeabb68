"""`fairlead run` as a process of its own, which can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from .server import TOKEN, FakeTelegram

SECONDS = 30.0
CONFIG = """
[channels.telegram]
token = {{ env = "TELEGRAM_TOKEN" }}
api_url = "{url}"
poll_seconds = 5
isolation = "{isolation}"
{more}

[providers.rehearsal]

[policies.contacts]
allow = ["telegram:4001"]

[policies.rules]

[[policies.rules.rules]]
name = "sums"
effect = "allow"
actions = ["tool_call"]
resources = ["calculate"]
"""


@frozen
class Home:
    """A directory with a configuration and a journal."""

    path: Path

    def configure(self, telegram: FakeTelegram, isolation: str = "host", more: str = "") -> None:
        text = CONFIG.format(url=telegram.url, isolation=isolation, more=more)
        (self.path / "fairlead.toml").write_text(text, "utf-8")

    @property
    def shown(self) -> str:
        """All that the programs have printed."""
        return (self.path / "shown").read_text("utf-8", "replace")

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRLEAD_", "OPENAI_"))}
        return {**kept, "FAIRLEAD_DATA": str(self.path / "data"), "TELEGRAM_TOKEN": TOKEN}

    def run(self, *arguments: str) -> str:
        """Run a command to its end; what it prints."""
        line = [sys.executable, "-m", "fairlead_cli", *arguments]
        done = subprocess.run(
            line, cwd=self.path, env=self.environment, capture_output=True, timeout=SECONDS, check=False
        )
        return (done.stdout + done.stderr).decode("utf-8", "replace")

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """`fairlead run`; whatever is left of it at the end is killed."""
        line = [sys.executable, "-m", "fairlead_cli", "run"]
        with (
            (self.path / "shown").open("ab") as output,
            subprocess.Popen(line, cwd=self.path, env=self.environment, stdout=output, stderr=output) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(SECONDS)
