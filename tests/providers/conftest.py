"""Each test that takes `vendor` runs for both protocols."""

from __future__ import annotations

import pytest

from .vendors import ANTHROPIC, OPENAI, Vendor


@pytest.fixture(params=[OPENAI, ANTHROPIC], ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    found: Vendor = request.param
    return found
