"""Each test that takes `vendor` runs for both protocols."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fake_servers import serving
from .vendors import ANTHROPIC, OPENAI, Vendor


@pytest.fixture(params=[OPENAI, ANTHROPIC], ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    found: Vendor = request.param
    return found


@pytest.fixture(scope="session", autouse=True)
def site() -> Iterator[None]:
    """One web server for all tests."""
    with serving():
        yield
