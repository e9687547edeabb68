"""The kit of tools: right ones pass it, and each check finds a wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fairlead import Tool, ToolSpec
from fairlead.testing import ToolConformance

from .kit_broken import checks_of, found_by, is_found, unproven
from .kit_tools import FAILING, LARGE, SECRET, SLOW, Abacus, Ledger


class LedgerKit(ToolConformance):
    secret = SECRET
    seconds = 2.0
    stop_seconds = 0.5
    wrong = ""

    async def make_worker(self, tmp_path: Path) -> Tool:
        return Ledger(tmp_path, self.wrong)

    async def slow_example(self, spec: ToolSpec) -> Mapping[str, Any] | None:
        return SLOW.get(spec.name)

    async def failing_example(self, spec: ToolSpec) -> Mapping[str, Any] | None:
        return FAILING.get(spec.name)

    async def large_example(self, spec: ToolSpec) -> Mapping[str, Any] | None:
        return LARGE.get(spec.name)


class TestLedger(LedgerKit):
    """The right one."""

    stop_seconds = 5.0


class TestAbacus(ToolConformance):
    """Another right one, of which little is declared."""

    async def make_worker(self, tmp_path: Path) -> Tool:
        return Abacus()


MUTANTS: dict[str, tuple[str, str]] = {
    "has two tools of a name": ("test_specs_have_names_of_their_own", "a name of its own"),
    "has a blank in a name": ("test_names_are_such_as_every_provider_accepts", "a name has letters"),
    "says nothing of itself": ("test_descriptions_say_something", "a description tells the model"),
    "has an odd effect": ("test_effects_are_declared", "the effect is declared"),
    "has an odd floor": ("test_floors_are_declared", "the floor is declared"),
    "has no time": ("test_timeouts_are_positive", "a timeout is positive"),
    "has more to say each time": ("test_specs_are_fixed", "specs are fixed"),
    "cannot be published": ("test_specs_can_be_published", "is JSON of the schema tool-spec"),
    "has a broken schema": ("test_schemas_are_valid", "the schema is valid"),
    "takes lists": ("test_arguments_are_objects", "arguments are an object"),
    "has a wrong example": ("test_examples_match_their_schemas", "the schema takes the example"),
    "requires what nobody knows": ("test_what_is_required_is_described", "what is required is described"),
    "takes anything": ("test_each_argument_says_what_it_takes", "each argument says what it takes"),
    "never fails": ("test_failing_example_is_one_of_the_schema", "a call that fails says so"),
    "fails at its example": ("test_example_succeeds", "no pears today"),
    "says nothing in the end": ("test_result_says_something", "a result has words or parts"),
    "names another call": ("test_result_names_its_call", "a result names its call"),
    "makes up an error": ("test_result_has_a_known_error_or_none", "one of the documented words"),
    "gives a file without bytes": ("test_parts_are_whole", "bytes or a URL"),
    "claims to be isolated": ("test_evidence_comes_from_isolators_alone", "names the place where it runs"),
    "changes its arguments": ("test_arguments_are_left_alone", "leaves its arguments alone"),
    "tires": ("test_calls_one_after_the_other", "enough"),
    "mixes calls": ("test_calls_at_once", "a result names its call"),
    "wants to be alone": ("test_two_workers_live_side_by_side", "not again"),
    "works once": ("test_call_works_after_a_restart", "not again"),
    "takes too long": ("test_call_ends_in_its_time", "within the timeout of its spec"),
    "says too much": ("test_large_result_is_bounded", "a result has at most"),
    "says that it is immediate": ("test_tool_that_is_immediate_never_waits", "never awaits"),
    "mumbles": ("test_progress_is_words", "progress is words"),
    "hurries whoever watches": ("test_slow_watcher_delays_and_harms_nothing", ""),
    "needs somebody": ("test_call_for_nobody_has_a_result", "ToolError alone"),
    "makes a directory of the session": ("test_any_session_has_a_result", "ToolError alone"),
    "knows no time before 1970": ("test_any_clock_has_a_result", "ToolError alone"),
    "is deaf to cancellation": ("test_cancelled_call_stops", "a cancelled call stops"),
    "is locked once cancelled": ("test_call_can_be_cancelled_at_any_point", "ends, in 2.0 s"),
    "works on when cancelled": ("test_call_that_takes_long_stops_when_cancelled", "stops when it is cancelled"),
    "fails without words": ("test_failure_has_words_for_the_model", "a ToolError has words"),
    "knows no astral planes": ("test_hostile_texts", "ToolError alone"),
    "knows no control characters": ("test_odd_texts", "ToolError alone"),
    "opens paths": ("test_texts_that_are_paths", "ToolError alone"),
    "counts to a limit": ("test_extreme_numbers", "ToolError alone"),
    "wants objects": ("test_unexpected_shapes", "ToolError alone"),
    "chokes on much": ("test_huge_text_ends_in_time", "ToolError alone"),
    "recurses": ("test_deep_values_end_in_time", "ToolError alone"),
    "knows what it takes": ("test_unknown_argument_harms_nothing", "ToolError alone"),
    "needs what is optional": ("test_leaving_out_what_is_optional", "ToolError alone"),
    "tells its secret": ("test_secret_is_told_to_nobody", "a secret is told to nobody"),
    "repeats what it is given": ("test_failure_does_not_repeat_a_huge_argument", "does not repeat"),
    "writes while it reads": ("test_reading_changes_nothing", "what reads changes nothing"),
    "leaves files when cancelled": ("test_reading_that_is_cancelled_changes_nothing", "what reads changes nothing"),
    "writes twice": ("test_what_may_run_again_has_one_effect", "is one effect"),
    "remembers in its memory": ("test_what_may_run_again_may_run_in_another_process", "by another worker"),
    "is half done when cancelled": (
        "test_what_may_run_again_is_finished_after_a_cancellation",
        "is finished by its repetition",
    ),
    "keeps a log of failures": ("test_failure_of_what_may_run_again_leaves_nothing", "changes nothing"),
    "forgets what it did": ("test_what_remembers_gives_the_same_result", "gives its result"),
}


@pytest.mark.parametrize("wrong", sorted(MUTANTS))
async def test_wrong_tool_is_found(wrong: str, tmp_path: Path) -> None:
    """By the check that stands beside it, in words of the contract."""
    check, words = MUTANTS[wrong]
    kit = LedgerKit()
    kit.wrong = wrong
    await is_found(kit, check, words, tmp_path)


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        ("refers elsewhere", "test_schemas_are_valid"),
        ("says what is no Unicode", "test_example_succeeds"),
        ("tells its secret in results", "test_secret_is_told_to_nobody"),
    ],
)
async def test_more_of_what_a_check_finds(wrong: str, check: str, tmp_path: Path) -> None:
    """Some have several sides."""
    kit = LedgerKit()
    kit.wrong = wrong
    assert await found_by(kit, check, tmp_path)


def test_every_check_has_its_mutant() -> None:
    """A check that finds nothing proves nothing."""
    assert [] == unproven(ToolConformance, MUTANTS)
    assert len(checks_of(ToolConformance)) >= 40
