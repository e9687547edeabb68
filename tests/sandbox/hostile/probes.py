"""What an attack is, and what must come of it at each level."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import frozen

__all__ = ["Probe", "refused", "table"]

SAME = "as in a container"


@frozen
class Probe:
    """An attack: Python that a tool runs."""

    name: str
    code: str
    outcome: str = "done"
    """In a container: the text that it gives, or the class of its failure."""
    kernel: str | None = None
    """Under a kernel of its own; None: not tried there, which is slow."""
    tool: str = "probe"
    """``quick``: it never ends by itself."""
    then: str = ""
    """Python of the next call in the same sandbox, which looks for what the first one left."""
    within: float = 10.0
    """Seconds, on a busy machine."""

    def expected(self, level: str) -> str | None:
        return self.outcome if level == "container" or self.kernel == SAME else self.kernel


def refused(name: str, act: str, *, kernel: str | None = None) -> Probe:
    """An attack that gets an error from the kernel, and lives on."""
    return Probe(name, f"return tried(lambda: {act})", "refused", kernel=kernel)


def table(*parts: Sequence[Probe]) -> pytest.MarkDecorator:
    """For `pytest.mark.parametrize`: each probe at each level at which it is tried, container first."""
    every = [probe for part in parts for probe in part]
    return pytest.mark.parametrize(
        ("level", "probe"),
        [
            pytest.param(level, probe, id=f"{probe.name} ({level})")
            for level in ("container", "kernel")
            for probe in every
            if probe.expected(level) is not None
        ],
    )
