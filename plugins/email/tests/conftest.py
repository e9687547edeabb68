"""One dovecot for all tests of the room but those that stop it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .dovecot import Dovecot, serving


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    with serving() as server:
        yield server
