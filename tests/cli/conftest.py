"""Homes for the command, and a model on loopback that answers as the test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..providers.fake_servers import Script, anthropic_server, openai_server
from .programs import Home

MakeHome = Callable[[Script], Home]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Nothing is configured: the default configuration, which only rehearses."""
    return Home(tmp_path)


@pytest.fixture
def openai_home(tmp_path: Path) -> Iterator[MakeHome]:
    """Makes a home whose default model is an OpenAI-compatible server with this script."""
    with ExitStack() as stack:
        yield lambda script: with_provider(tmp_path, "openai", str(stack.enter_context(openai_server(script))))


@pytest.fixture
def anthropic_home(tmp_path: Path) -> Iterator[MakeHome]:
    """Makes a home whose default model is an Anthropic-compatible server with this script."""
    with ExitStack() as stack:
        yield lambda script: with_provider(tmp_path, "anthropic", str(stack.enter_context(anthropic_server(script))))


def with_provider(path: Path, provider: str, url: str) -> Home:
    home = Home(path, {"MODEL_KEY": "test"})
    home.configure(
        f'[models]\ndefault = "{provider}/fake-large"\n\n'
        f'[providers.{provider}]\nbase_url = "{url}"\napi_key = {{ env = "MODEL_KEY" }}\n\n'
    )
    return home
