"""What starting costs: import, an app with 3 of 30 installed plugins, and `fairlead run` until it listens.

    uv run python tests/benchmarks/startup.py [--rounds 15]

The 30 plugins are real distributions in a directory of their own; each takes 20 ms to import, as an SDK does. Loading
by name imports three of them; the second figure imports them all. Python's own start is the unit.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from figures import Part, Row, Section, print_parts

HEAVY = "import time\nend = time.process_time() + 0.02\nwhile time.process_time() < end: pass\n"
PLUGIN = """
from fairlead import Tool, ToolSpec
from fairlead.hookspecs import hookimpl
class Own(Tool):
    def specs(self): return (ToolSpec(__name__, "does nothing", effect="read", isolation="host"),)
    async def call(self, call, context): return "done"
@hookimpl
def fairlead_tools(settings): return [Own()]
"""
CONFIG = 'data_dir = "{data}"\n[memories.sqlite]\n'
TABLE = '[tools.{name}]\nisolation = "host"\n'
OPEN = """
import sys, trio, fairlead
async def main():
    async with fairlead.open(sys.argv[1]) as app:
        assert {least} <= len(app.tools)
trio.run(main)
"""
FLOOR = "import trio, attrs, pluggy, jsonschema"
"""What the loop of `floor.py` imports: 135 ms where the goal was set, which was 180 ms."""
GOAL = 1.33
IMPORTED = "`fairlead` imported, ready for an agent, against the libraries that it needs"
USABLE = "import trio, fairlead\nfrom fairlead.testing import ScriptedProvider"
RSS = "\nprint(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"


def install(site: Path, count: int) -> None:
    """Distributions as pip leaves them: a module, its metadata, its entry point."""
    for number in range(count):
        name = f"heavy_{number}"
        (site / f"{name}.py").write_text(HEAVY + PLUGIN)
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[fairlead.tools]\n{name} = {name}\n")


def python(code: str, *arguments: str, site: Path | None = None) -> Callable[[], float]:
    """CPU milliseconds of a program."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # it would make every import a compilation
    if site is not None:
        environment["PYTHONPATH"] = str(site)

    def run() -> float:
        before = _used_by_children()
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)
        return (_used_by_children() - before) * 1000

    return run


def _used_by_children() -> float:
    """Seconds, to the microsecond: `os.times` counts in steps of 10 ms."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_turn(rounds: int, *runs: Callable[[], float]) -> list[tuple[float, ...]]:
    """The figures of each; they take turns, so that all of them meet the same machine."""
    for run in runs:
        run()
    return list(zip(*([run() for run in runs] for _ in range(rounds)), strict=True))


def medians(rounds: int, *runs: Callable[[], float]) -> list[float]:
    return [statistics.median(column) for column in in_turn(rounds, *runs)]


def resident_mb(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code + RSS], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def serve(config: Path, data: Path) -> tuple[float, float, float]:
    """Seconds until `fairlead run` listens, its resident MB then, and the share of a core that it uses while idle."""
    environment = {**os.environ, "WEBHOOK_SECRET": "x" * 32, "FAIRLEAD_DATA": str(data)}
    command = [sys.executable, "-m", "fairlead_cli", "run", "--config", str(config)]
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            said = ""
            while "listening" not in said:
                said = process.stdout.readline()
                if not said:
                    raise SystemExit("fairlead run ended before it listened")
            listening = time.perf_counter() - started
            status = Path(f"/proc/{process.pid}/status").read_text()
            resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024
            idle = _cpu(process.pid)
            time.sleep(3)
            idle = (_cpu(process.pid) - idle) / 3
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    return listening, resident, idle


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(rounds: int) -> dict[str, tuple[float, ...]]:
    """By name: CPU milliseconds of each round, and what a running gateway needs."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        site, data = root / "site", root / "data"
        site.mkdir()
        install(site, 30)
        three, every, webhook = root / "three.toml", root / "all.toml", root / "webhook.toml"
        base = CONFIG.format(data=data)
        three.write_text(base + "".join(TABLE.format(name=f"heavy_{number}") for number in range(3)))
        every.write_text(base + "".join(TABLE.format(name=f"heavy_{number}") for number in range(30)))
        webhook.write_text(base + '[channels.webhook]\nport = 0\nsecret = { env = "WEBHOOK_SECRET" }\n')
        runs = {
            "python": python("pass"),
            "floor": python(FLOOR),
            "usable": python(USABLE),
            "three": python(OPEN.format(least=3), str(three), site=site),
            "every": python(OPEN.format(least=30), str(every), site=site),
        }
        columns = in_turn(rounds, *runs.values())
        found = {name: tuple(column) for name, column in zip(runs, columns, strict=True)}
        listening, resident, idle = serve(webhook, data)
    found |= {"listening": (listening,), "resident": (resident,), "idle": (idle * 100,)}
    return found | {"imported": (resident_mb(USABLE),)}


def parts(found: Mapping[str, tuple[float, ...]]) -> Iterator[Part]:
    floor = found["floor"]
    yield Section(
        "Starting, CPU time",
        (
            Row("python, nothing imported", found["python"], "ms", floor),
            Row("the libraries that the loop by hand imports", floor, "ms", floor),
            Row("fairlead imported, ready for an agent", found["usable"], "ms", floor, GOAL, alone=IMPORTED),
            Row("an app with 3 of 30 plugins opened and closed", found["three"], "ms", floor),
            Row("an app with all 30, each of which imports for 20 ms", found["every"], "ms", floor),
        ),
        "what the loop by hand imports",
    )
    yield Section(
        "Running",
        (
            Row("`fairlead` imported: resident", found["imported"], "MB", goal=40.0),
            Row("`fairlead run` with a webhook: listening after", found["listening"], "s", goal=2.0),
            Row("`fairlead run` with a webhook: resident", found["resident"], "MB", goal=150.0),
            Row("`fairlead run` with a webhook: of a core, while idle", found["idle"], "%", goal=1.0),
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    print_parts(parts(measure(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
