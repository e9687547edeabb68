"""The Django example: under uvicorn, and in the threads of a WSGI server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from .programs import serving, typed


@pytest.fixture(scope="module", params=["django_app:asgi", "django_app.py"], ids=["asgi", "wsgi"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """The server as the page starts it."""
    home: Path = tmp_path_factory.mktemp("django")
    with serving(typed(request.param), home) as client:
        yield client
    assert "Traceback" not in (home / "log").read_text()


@pytest.mark.parametrize("view", ["/ask", "/ask-async"])
def test_views_answer(client: httpx2.Client, view: str) -> None:
    """The plain and the async one, in one session."""
    assert {"text": "hello", "session": "s"} == client.get(view, params={"text": "say hello", "session": "s"}).json()


@pytest.mark.parametrize("view", ["/ask", "/ask-async"])
def test_tool_of_the_host(client: httpx2.Client, view: str) -> None:
    """It runs in a thread, where Django's database works."""
    answer = client.get(view, params={"text": 'use seats {"room": "Aquarium"}'}).json()
    assert "seats: Aquarium has 8 free seats" == answer["text"]


def test_streamed_view(client: httpx2.Client) -> None:
    """Piece by piece under ASGI; WSGI has no way to do that for an async view, and sends it whole."""
    with client.stream("GET", "/stream", params={"text": "say one two three"}) as response:
        assert "one two three" == "".join(response.iter_text())


def test_many_clients_at_once(client: httpx2.Client) -> None:
    """The app is started once, by whoever comes first."""

    def ask(number: int) -> str:
        view = "/ask" if number % 2 else "/ask-async"
        text: str = client.get(view, params={"text": f"say {number}"}).json()["text"]
        return text

    with ThreadPoolExecutor(20) as threads:
        assert [str(number) for number in range(60)] == list(threads.map(ask, range(60)))
