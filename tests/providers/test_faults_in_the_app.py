"""What becomes of a turn whose model server misbehaves: the tables of `docs/explanation/when-a-model-fails.md`.

A real server on loopback breaks on command, both providers ask it, and a whole app makes the best of it. The wall clock
of the app stands still; what passes is only the time that the server really takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import fairlead
from fairlead import Secret, errors, events
from fairlead.config import Config, Limits, ModelRef, PluginConfig

from .fake_servers import Answer, Calls, Fails, Says, resetting_server
from .vendors import ANTHROPIC, OPENAI, Vendor

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "when-a-model-fails.md"
GOOD = Says("All ", "is ", "well.")


@frozen
class Fault:
    """A row of the first table."""

    does: str
    """What the server does, each time that it is asked."""
    error: str
    second: bool
    """Whether another key, or the next model, answers instead."""
    tries: int
    """How often the only model is asked, where nobody else can be."""
    rests: str
    seconds: int
    """For how long."""

    @property
    def row(self) -> str:
        second = "answers" if self.second else "is not asked"
        tries = "1 try" if self.tries == 1 else f"{self.tries} tries"
        rests = f"{self.rests}, {self.seconds} s" if self.rests else "nobody"
        return f"| {self.does} | `{self.error}` | {second} | {tries} | {rests} |"


FAULTS = [
    Fault("429 without `Retry-After`", "RateLimited", True, 1, "the model", 30),
    Fault("429 with `Retry-After: 120`", "RateLimited", True, 1, "the model", 120),
    Fault("429 with `Retry-After` as a date, two minutes from now", "RateLimited", True, 1, "the model", 120),
    Fault("429 with a reset in 50 ms", "RateLimited", True, 3, "the model", 30),
    Fault("500", "Overloaded", True, 3, "the credential", 30),
    Fault("529", "Overloaded", True, 3, "the credential", 30),
    Fault("401", "AuthenticationFailed", True, 1, "the credential", -1),
    Fault("402", "BillingFailed", True, 1, "the credential", 600),
    Fault("404", "UnknownModel", True, 1, "the model", 30),
    Fault("resets the connection", "ConnectionFailed", True, 3, "the credential", 30),
    Fault("cuts the stream before the first word", "ConnectionFailed", True, 3, "the credential", 30),
    Fault("cuts the stream after a word", "BrokenStream", False, 2, "the credential", 30),
    Fault("sends garbage before the first word", "ConnectionFailed", True, 3, "the credential", 30),
    Fault("sends garbage after a word", "BrokenStream", False, 2, "the credential", 30),
    Fault("stalls before the first word", "ProviderTimeout", True, 3, "the model", 30),
    Fault("stalls after a word", "ProviderTimeout", False, 2, "the model", 30),
]
SAID = [fault for fault in FAULTS if not fault.does.startswith("resets")]
"""Those of servers that read the request first, and may answer another one differently."""
RETRY_AFTER = {
    "429 with `Retry-After: 120`": {"retry-after": "120"},
    "429 with `Retry-After` as a date, two minutes from now": {"retry-after": "DATE"},
    "429 with a reset in 50 ms": {"retry-after-ms": "50"},
}
CODES = {
    "401": ("invalid_api_key", "authentication_error"),
    "402": ("payment_required", "billing_error"),
    "404": ("model_not_found", "not_found_error"),
    "429": ("rate_limit_exceeded", "rate_limit_error"),
    "500": ("server_error", "api_error"),
    "529": ("overloaded", "overloaded_error"),
}


def answer(vendor: Vendor, fault: Fault) -> Answer:
    """What the server answers then."""
    status = fault.does[:3]
    if status in CODES:
        said = vendor.error(CODES[status][vendor is ANTHROPIC], "no")
        now = formatdate(usegmt=True, timeval=_real() + 120)
        headers = {name: now if value == "DATE" else value for name, value in RETRY_AFTER.get(fault.does, {}).items()}
        return Fails(int(status), said, headers)
    breaks = {"cuts": "cut", "sends": "garbage", "stalls": "stall"}[fault.does.split()[0]]
    return Says("All ", breaks=breaks) if "after a word" in fault.does else Says(breaks=breaks)


def _real() -> float:
    import time  # noqa: PLC0415  # the one place where the test needs the machine's clock: the date of a header

    return time.time()


@contextmanager
def broken(vendor: Vendor, fault: Fault) -> Iterator[str]:
    """A server that always does it."""
    with ExitStack() as stack:
        resets = fault.does.startswith("resets")
        yield stack.enter_context(resetting_server() if resets else vendor.serve([answer(vendor, fault)]))


def table(vendor: Vendor, url: str, **options: Any) -> PluginConfig:
    keys = {"api_keys": {"work": Secret("key-work"), "home": Secret("key-home")}}
    given = {"base_url": str(url), "timeout": {"connect": 5, "read": 0.2}, **keys, **options}
    return PluginConfig("providers", vendor.name, options=given)


class Turn:
    """One question to an app of these providers, and what became of it."""

    def __init__(self, *tables: PluginConfig, credential: str = "", tools: Any = ()) -> None:
        self.shown = ""
        refs = [ModelRef(each.name, "fake", credential if place == 0 else "") for place, each in enumerate(tables)]
        self._config = Config(plugins=tables, models={"default": tuple(refs)}, limits=Limits(corrections=2))
        self._tools = tools

    async def _emit(self, delta: fairlead.Delta) -> None:
        self.shown += delta.text

    async def ask(self) -> None:
        async with fairlead.open(self._config, tools=self._tools, clock=lambda: 1_800_000_000.0) as app:
            # The pauses are the core's own tests' concern; here they would only be waited for.
            app._desk.engine.models._jitter = lambda: -0.5  # noqa: SLF001  # the seam
            self.text, self.problem = "", ""
            try:
                self.text = (await app.ask("hi", session="s", emit=self._emit)).text
            except errors.TurnError as error:
                self.problem = error.problem
            records = [record.event for record in await app.sessions.records("s")]
            self.failed = [event for event in records if isinstance(event, events.ModelFailed)]
            self.returned = [event.result for event in records if isinstance(event, events.ToolReturned)]
            self.corrected = [event.message.text for event in records if isinstance(event, events.Corrected)]
            self.outcome = next(event.outcome for event in records if isinstance(event, events.TurnEnded))
            self.health = list(app.health)


def check_rest(fault: Fault, turn: Turn) -> None:
    """One entry says who rests, and for how long. A date has whole seconds."""
    (entry,) = [event for event in turn.health if event.cause != "outage"]
    assert (fault.error, fault.rests) == (entry.error, "the model" if entry.model else "the credential")
    rest = -1 if entry.until is None else entry.until - 1_800_000_000
    assert abs(fault.seconds - rest) <= (2 if "date" in fault.does else 0.001)


faults = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.does)


@faults
async def test_next_model_answers_in_its_place(vendor: Vendor, fault: Fault) -> None:
    """But not where somebody has read the beginning of the first one's answer."""
    other = OPENAI if vendor is ANTHROPIC else ANTHROPIC
    with broken(vendor, fault) as url, other.serve([GOOD]) as good:
        turn = Turn(table(vendor, url), table(other, good), credential="work")
        await turn.ask()
    check_rest(fault, turn)
    assert {fault.error} == {event.error for event in turn.failed}
    assert fault.second == (turn.text == "All is well.") == (len(good.requests) == 1)
    if fault.second:
        assert ("All is well.", 1, "answered") == (turn.shown, len(turn.failed), turn.outcome)


@pytest.mark.parametrize("fault", SAID, ids=lambda fault: fault.does)
async def test_next_key_answers_in_its_place(vendor: Vendor, fault: Fault) -> None:
    """The same model, asked with the other key; after the first word with the same one again."""
    used: list[str] = []

    def by_key(_: dict[str, Any]) -> Answer:
        sent = url.headers[-1]
        used.append((sent.get("x-api-key") or sent["authorization"]).rpartition("-")[2])
        return GOOD if used[-1] == "home" else answer(vendor, fault)

    with vendor.serve(by_key) as url:
        turn = Turn(table(vendor, url))
        await turn.ask()
    check_rest(fault, turn)
    assert (["work", "home"] if fault.second else ["work", "work"]) == used
    assert fault.second == (turn.text == "All is well.")


@faults
async def test_only_model_is_tried_again_where_that_may_help(vendor: Vendor, fault: Fault) -> None:
    """Then the turn fails with the words of the last try, and says when the next one makes sense."""
    with broken(vendor, fault) as url:
        turn = Turn(table(vendor, url, api_keys={}, api_key=Secret("only")))
        await turn.ask()
    check_rest(fault, turn)
    assert [fault.error] * fault.tries == [event.error for event in turn.failed]
    assert "failed" == turn.outcome
    when = "once its key is changed" if fault.seconds < 0 else " UTC)"
    assert turn.problem.startswith(f"No model could answer: provider '{vendor.name}' at 127.0.0.1")
    assert "The next try makes sense" in turn.problem
    assert turn.problem.endswith(when)
    assert "only" not in turn.problem


@pytest.mark.parametrize("fault", [fault for fault in SAID if fault.tries > 1], ids=lambda fault: fault.does)
async def test_only_model_that_recovers_answers(vendor: Vendor, fault: Fault) -> None:
    """Nothing is shown twice, what was shown is journalled, and nobody rests."""
    with vendor.serve([answer(vendor, fault), GOOD]) as url:
        turn = Turn(table(vendor, url), credential="work")
        await turn.ask()
    assert ("All is well.", "All is well.", []) == (turn.text, turn.shown, turn.health)
    assert [""] if fault.second else ["All "] == [event.partial for event in turn.failed]


# -- what is no fault of the server


@frozen
class Mistake:
    """A row of the second table: the model itself makes a mistake."""

    does: str
    told: str
    """What the model is told."""

    @property
    def row(self) -> str:
        return f"| {self.does} | {self.told} |"


MISTAKES = [
    Mistake("calls a tool with arguments that are no JSON", "The call was not made"),
    Mistake("calls a tool with arguments that the tool's schema refuses", "The call was not made"),
    Mistake("calls a tool that there is not", "There is no tool"),
    Mistake("gives an empty answer", "Your answer was empty"),
]
MADE: dict[str, Says] = {
    MISTAKES[0].does: Says(calls=[Calls("double", '{"n": ')]),
    MISTAKES[1].does: Says(calls=[Calls("double", {"n": "two"})]),
    MISTAKES[2].does: Says(calls=[Calls("halve", {"n": 2})]),
    MISTAKES[3].does: Says(),
}
mistakes = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.does)


def double(n: int) -> str:
    """Double a number."""
    return str(2 * n)


@mistakes
async def test_model_is_told_of_its_mistake_and_asked_again(vendor: Vendor, mistake: Mistake) -> None:
    """No failure of a provider: nobody rests, no tool runs, and the next answer counts."""
    with vendor.serve([MADE[mistake.does], GOOD]) as url:
        turn = Turn(table(vendor, url), tools=[double])
        await turn.ask()
    told = [result.text for result in turn.returned] + turn.corrected
    assert ("All is well.", "answered", [], []) == (turn.text, turn.outcome, turn.failed, turn.health)
    assert [mistake.told] == [text[: len(mistake.told)] for text in told]
    assert 2 == len(url.requests)


@pytest.mark.parametrize("mistake", [MISTAKES[0], MISTAKES[1], MISTAKES[3]], ids=lambda mistake: mistake.does)
async def test_model_that_makes_it_again_and_again_is_given_up(vendor: Vendor, mistake: Mistake) -> None:
    """After `limits.corrections`."""
    with vendor.serve([MADE[mistake.does]]) as url:
        turn = Turn(table(vendor, url), tools=[double])
        await turn.ask()
    assert ("failed", []) == (turn.outcome, turn.health)
    assert "corrected 3 times" in turn.problem
    assert 3 == len(url.requests)


# -- the page


def rows(heading: str) -> list[str]:
    """The rows of the table below a heading of the page."""
    _, _, rest = PAGE.read_text("utf-8").partition(heading)
    found = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return found[2:]


def test_page_has_these_tables() -> None:
    """Row by row."""
    assert [fault.row for fault in FAULTS] == rows("## What a server does, and what becomes of it\n")
    assert [mistake.row for mistake in MISTAKES] == rows("## What a model does wrong\n")
