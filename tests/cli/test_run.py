"""`fairlead run` as a process: serving, stopping, and finishing what a killed process left."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

from ..providers.fake_servers import Answer, Says
from .programs import SECONDS

if TYPE_CHECKING:
    from .conftest import MakeHome
    from .programs import Home

WEBHOOK = '[channels.webhook]\nport = 0\nsecret = "a secret of the tests, no more"\n'
TERMINAL = '[channels.terminal]\nconversation = "tale"\n'


class SlowModel:
    """A model that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, body: dict[str, Any]) -> Answer:
        self.asked.set()
        assert self.go_on.wait(SECONDS)
        return Says("The end of: ", str(body["messages"][-1]["content"]))


class StallingModel(SlowModel):
    """A model that stalls in the middle of its first answer; later ones are whole."""

    def __call__(self, body: dict[str, Any]) -> Answer:
        first = not self.asked.is_set()
        self.asked.set()
        return Says("Once ", breaks="stall") if first else Says("The end of: ", str(body["messages"][-1]["content"]))


def test_without_a_channel_it_says_what_to_write(home: Home) -> None:
    """Nothing to serve is a fault of the configuration."""
    done = home.run("run")
    assert (2, "") == (done.returncode, done.stdout)
    assert "[channels.webhook]" in done.stderr


def test_it_listens_until_sigterm(home: Home) -> None:
    """It says where, and ends with 0."""
    home.configure(WEBHOOK)
    with home.start("run") as program:
        program.expect("channels/webhook: listening at http://127.0.0.1:")
        program.signal(signal.SIGTERM)
        program.expect("fairlead: stopping")
        program.expect("fairlead: stopped")
        assert 0 == program.wait()


def test_plugin_that_fails_is_told_and_the_rest_serves(home: Home) -> None:
    """One channel without its secret is no reason for the other not to listen."""
    home.configure(WEBHOOK + '[channels.second]\nplugin = "webhook"\nport = 0\n')
    with home.start("run") as program:
        program.expect("channels/second: ")
        program.expect("channels/webhook: listening at ")
        program.signal(signal.SIGINT)
        assert 0 == program.wait()


def test_no_channel_that_works_ends_it(home: Home) -> None:
    """A service that serves nothing must not look alive."""
    home.configure("[channels.webhook]\nport = 0\n")
    done = home.run("run")
    assert 2 == done.returncode
    assert "no channel can serve: channels/webhook: " in done.stderr


def test_sigterm_lets_turns_come_to_their_end(openai_home: MakeHome) -> None:
    """What was accepted is answered, then the program ends with 0."""
    model = SlowModel()
    home = openai_home(model)
    home.configure(TERMINAL)
    with home.start("run") as program:
        program.expect("channels/terminal: listening")
        program.type("a story\n")
        assert model.asked.wait(SECONDS)
        program.signal(signal.SIGTERM)
        program.expect("fairlead: stopping")
        model.go_on.set()
        program.expect("The end of: a story\n")
        program.expect("fairlead: stopped")
        assert 0 == program.wait()


def test_second_signal_stops_hard_and_the_next_start_finishes(openai_home: MakeHome) -> None:
    """The turn that was cut off is taken over and answered."""
    model = StallingModel()
    home = openai_home(model)
    home.configure(TERMINAL)
    with home.start("run") as program:
        program.expect("channels/terminal: listening")
        program.type("a story\n")
        assert model.asked.wait(SECONDS)
        program.signal(signal.SIGTERM)
        program.expect("fairlead: stopping")
        program.signal(signal.SIGTERM)
        assert 1 == program.wait()
    with home.start("run") as program:
        program.expect("The end of: a story\n")


def test_turn_of_a_killed_process_is_finished(openai_home: MakeHome) -> None:
    """kill -9 in the middle of an answer: the next `fairlead run` takes the session over and answers, once."""
    model = StallingModel()
    home = openai_home(model)
    home.configure(TERMINAL)
    with home.start("chat", "--session", "tale", "a story") as program:
        assert model.asked.wait(SECONDS)
        program.signal(signal.SIGKILL)
        assert -signal.SIGKILL == program.wait()
    with home.start("run") as program:
        program.expect("resume: taking over session 'main/terminal//tale'")
        program.expect("The end of: a story\n")
        program.signal(signal.SIGTERM)
        assert 0 == program.wait()
        assert 1 == program.shown.count("The end of")
