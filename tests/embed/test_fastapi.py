"""The FastAPI example under uvicorn, with a real client."""

from __future__ import annotations

import json
import runpy
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from fairlead import errors

from .programs import EXAMPLES, LIMIT, serving, typed


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """The server as the page starts it."""
    home: Path = tmp_path_factory.mktemp("fastapi")
    with serving(typed("fastapi_app:web"), home) as client:
        yield client
    log = (home / "log").read_text()
    assert "Application shutdown complete" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("route", ["/ask", "/ask-plain"])
def test_routes_answer(client: httpx2.Client, route: str) -> None:
    """The async and the plain one; sessions go on over both."""
    answer = client.post(route, params={"text": "say hello", "session": "both"}).json()
    assert {"text": "hello", "session": "both"} == answer


def test_tool_of_the_host_runs_on_the_loop_of_the_server(client: httpx2.Client) -> None:
    """Also for a plain route, whose thread waits meanwhile."""
    for route in ("/ask", "/ask-plain"):
        answer = client.post(route, params={"text": 'use seats {"room": "Aquarium"}'}).json()
        assert "seats: Aquarium has 8 free seats" == answer["text"]


def test_answer_streams_into_the_browser(client: httpx2.Client) -> None:
    """Server-sent events, a piece each, and an end."""
    with client.stream("GET", "/stream", params={"text": "say one two three"}) as response:
        lines = [line for line in response.iter_lines() if line]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert ["event: end", "data:"] == lines[-2:]
    pieces = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    assert len(pieces) > 1
    assert "one two three" == "".join(pieces)


def test_page_asks_that_stream(client: httpx2.Client) -> None:
    """What the browser loads."""
    assert 'new EventSource("/stream?text="' in client.get("/").text


def test_client_that_goes_away_cancels_its_turn(client: httpx2.Client) -> None:
    """The next question of the session does not wait for what nobody reads any more."""
    slow = {"text": 'use seats {"room": "Aquarium", "seconds": 50}', "session": "left"}
    with client.stream("GET", "/stream", params=slow) as response:
        assert 200 == response.status_code
    began = time.monotonic()
    answer = client.post("/ask", params={"text": "say hello", "session": "left"}).json()
    assert "hello" == answer["text"]
    assert time.monotonic() - began < LIMIT / 2


def test_error_of_a_turn_is_an_answer() -> None:
    """The rehearsal never fails, so the example's handler is called with what another model may raise."""
    example = runpy.run_path(str(EXAMPLES / "fastapi_app.py"))
    handler = example["web"].exception_handlers[errors.TurnError]
    response = handler(None, errors.TurnFailed("No model answered.", session="s", reason="provider"))
    assert (502, {"problem": "No model answered.", "session": "s"}) == (response.status_code, json.loads(response.body))


def test_many_clients_at_once(client: httpx2.Client) -> None:
    """Over both kinds of route."""

    def ask(number: int) -> str:
        route = "/ask" if number % 2 else "/ask-plain"
        text: str = client.post(route, params={"text": f"say {number}"}).json()["text"]
        return text

    with ThreadPoolExecutor(20) as threads:
        assert [str(number) for number in range(100)] == list(threads.map(ask, range(100)))


def test_server_ends_while_a_turn_runs(tmp_path: Path) -> None:
    """It is stopped as people stop it: the stream ends, the app closes, nothing hangs."""
    slow = {"text": 'use seats {"room": "Aquarium", "seconds": 50}'}
    command = [word if word != "5" else "1" for word in typed("fastapi_app:web")]
    with serving(command, tmp_path) as client, client.stream("GET", "/stream", params=slow):
        began = time.monotonic()
        # Leaving the block closes the stream after the server was stopped.
    assert time.monotonic() - began < LIMIT / 2
