"""The kit of providers: a right one passes it, and each check finds a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead import Provider
from fairlead.testing import ProviderConformance, ScriptedProvider

from .kit_broken import checks_of, is_found, unproven
from .kit_provider import SECRET, LineProvider, LineWire


class LineKit(ProviderConformance):
    wire = LineWire()
    secret = SECRET
    patience = 1.0
    seconds = 2.0
    wrong = ""

    async def make_worker(self, tmp_path: Path) -> Provider:
        assert self.server is not None
        return LineProvider(self.server.url, self.wrong)


class TestLineProvider(LineKit):
    """The right one."""


MUTANTS: dict[str, tuple[str, str]] = {
    "has no models": ("test_models_are_listed", "a name of its own"),
    "has odd figures": ("test_figures_of_models_are_amounts", "figures are amounts"),
    "has other models each time": ("test_models_stay_the_same", "the same each time"),
    "answers nothing": ("test_answer_is_whole", "words or calls"),
    "answers other words": ("test_streamed_words_are_the_answer", "the deltas, joined"),
    "emits nothing too": ("test_no_piece_is_empty", "no piece is empty"),
    "forgets each second answer": ("test_same_question_is_answered_alike_streamed_or_not", "streaming changes nothing"),
    "always says tools": ("test_finish_says_stop", "finish is 'tools' only with calls"),
    "counts nothing": ("test_tokens_are_reported", "tokens are reported"),
    "counts too much cached": ("test_cached_tokens_are_a_part_of_the_input", "cached is a part of input"),
    "has a negative cost": ("test_cost_is_an_amount", "the cost is an amount"),
    "counts by itself": ("test_usage_is_what_the_server_counts", "what the server counts"),
    "names no model": ("test_answer_names_its_model", "names the model"),
    "always says stop": ("test_answer_that_was_cut_says_so", "finish is 'length'"),
    "refuses limits": ("test_limit_of_tokens_is_taken", "no such option"),
    "wraps JSON": ("test_structured_answer_is_one_json_value", "one JSON value"),
    "spoils the model's words": ("test_hostile_words_of_the_model_arrive_unchanged", "arrive unchanged"),
    "forgets long answers": ("test_long_answer_is_kept_whole", "kept whole"),
    "calls other tools": ("test_tool_is_called", "calls what it was given"),
    "leaves arguments as text": ("test_arguments_are_the_decoded_object", "decoded object"),
    "has no ids": ("test_calls_have_ids_of_their_own", "calls have ids"),
    "says stop with calls": ("test_finish_says_tools", "finish is 'tools' with calls"),
    "takes no results": ("test_result_goes_back", "no such message"),
    "spoils results": ("test_result_reaches_the_model", "the words of a result reach the model"),
    "takes no failures": ("test_result_of_a_failure_goes_back", "no such message"),
    "takes no empty results": ("test_result_without_words_goes_back", "no such message"),
    "one call is enough": ("test_several_calls_come_in_one_answer", "calls have ids"),
    "sends one result": ("test_results_of_several_calls_go_back", "each result is sent"),
    "drops words beside calls": ("test_words_beside_calls_are_kept", "words beside calls are kept"),
    "spoils arguments": ("test_hostile_arguments_arrive_unchanged", "arguments arrive unchanged"),
    "fails at broken arguments": ("test_arguments_that_are_no_json_come_as_they_are", "an answer and no failure"),
    "wants objects": ("test_broken_arguments_can_stand_in_a_history", "arguments are no object"),
    "drops unknown tools": ("test_call_of_an_unknown_tool_is_passed_on", "is passed on"),
    "makes up words": ("test_empty_answer_is_empty_or_a_failure", "is empty, or fails"),
    "offers no tools": ("test_tools_are_offered", "every tool is offered"),
    "cannot take a long history": ("test_long_history_is_answered", "too long"),
    "sends the end of a history": ("test_history_reaches_the_model_whole_and_in_order", "sent in order"),
    "changes the request": ("test_history_is_left_alone", "left as it was"),
    "keeps an old history": ("test_history_that_grows_and_changes_is_followed", "its own history"),
    "spoils words": ("test_hostile_words_reach_the_model_unchanged", "words reach the model unchanged"),
    "chokes on control characters": ("test_hostile_words_are_answered", "any Unicode text"),
    "forgets instructions": ("test_instructions_reach_the_model", "instructions reach the model"),
    "needs instructions": ("test_no_instructions_are_fine", "no instructions"),
    "hides pictures": ("test_picture_is_shown_or_refused", "gets the picture"),
    "takes no recordings": ("test_other_parts_are_told_or_refused", "told or refused"),
    "forgets the limit": ("test_limit_of_tokens_reaches_the_model", "the limit of tokens is sent"),
    "forgets the schema": ("test_schema_of_the_answer_reaches_the_model", "the schema of the answer is sent"),
    "forgets options": ("test_options_reach_the_model", "options are sent"),
    "asks another model": ("test_model_is_the_one_that_was_asked_for", "the model that was asked for"),
    "takes any credential": ("test_credential_that_is_unknown_is_refused", "unknown credential"),
    "mixes sessions": ("test_sessions_do_not_mix", "sessions do not mix"),
    "shares its words": ("test_requests_at_once_do_not_mix", "the deltas, joined"),
    "streams at the end": ("test_pieces_come_while_the_model_speaks", "a piece comes"),
    "emits all at once": ("test_slow_reader_is_waited_for", "one piece at a time"),
    "swallows the reader's errors": ("test_error_of_the_reader_comes_out_as_it_is", "comes out as it is"),
    "is deaf to cancellation": ("test_cancelled_request_emits_nothing_more", "nothing more is emitted"),
    "answers though cancelled": ("test_cancelled_request_spares_the_next", "does not answer"),
    "is locked once cancelled": ("test_request_can_be_cancelled_at_any_point", "a request is answered"),
    "hangs up late": ("test_cancelled_request_hangs_up", "closes its connection"),
    "leaks connections": ("test_no_connection_is_leaked", "no connection is leaked"),
    "works once": ("test_closed_worker_is_opened_again_as_new", "not again"),
    "takes one at a time": ("test_request_beside_a_stalled_one_is_answered", "a request is answered"),
    "raises what it likes": ("test_failures_are_provider_errors", "the ProviderError that fits"),
    "makes up a time": ("test_too_many_requests_are_rate_limited", "no time of reset"),
    "ignores the time": ("test_time_of_reset_is_told", "the time of reset is told"),
    "knows no overload": ("test_server_error_is_overload", "raises Overloaded"),
    "knows no busy server": ("test_busy_server_is_overload", "raises Overloaded"),
    "knows no wrong key": ("test_wrong_key_is_told", "raises AuthenticationFailed"),
    "knows no billing": ("test_account_without_credit_is_told", "raises BillingFailed"),
    "knows no unknown model": ("test_unknown_model_is_told", "raises UnknownModel"),
    "calls all a broken stream": ("test_connection_that_is_reset_has_failed", "raises ConnectionFailed"),
    "raises the system's errors": ("test_server_that_is_away_has_failed", "raises ConnectionFailed"),
    "takes half for whole": ("test_half_a_stream_is_broken", "raises BrokenStream"),
    "skips garbage": ("test_garbage_in_a_stream_is_broken", "raises BrokenStream"),
    "calls a stall a failed connection": ("test_stream_that_stalls_times_out", "raises ProviderTimeout"),
    "gives up after a failure": ("test_request_after_a_failure_works", "gave up"),
    "names nobody": ("test_errors_say_who_and_what", "names provider, model and status"),
    "gives no next step": ("test_wrong_key_has_a_next_step", "has a next_step"),
    "tries again": ("test_request_is_not_repeated", "not tried again"),
    "shows its key in errors": ("test_secret_is_in_no_error", "in no error"),
    "shows its key": ("test_secret_is_in_no_description", "in no description"),
    "has no next step in check": ("test_check_tells_of_a_server_that_is_away", "a bad finding has a next_step"),
    "is spoilt by a failure": ("test_failure_beside_an_answer_harms_nobody", "gave up"),
}


@pytest.mark.parametrize("wrong", sorted(MUTANTS))
async def test_wrong_provider_is_found(wrong: str, tmp_path: Path) -> None:
    """By the check that stands beside it, in words of the contract."""
    check, words = MUTANTS[wrong]
    kit = LineKit()
    kit.wrong = wrong
    await is_found(kit, check, words, tmp_path)


def test_every_check_has_its_mutant() -> None:
    """A check that finds nothing proves nothing."""
    assert [] == unproven(ProviderConformance, MUTANTS)
    assert len(checks_of(ProviderConformance)) >= 40


async def test_check_without_a_far_side_says_that_it_does_not_apply(tmp_path: Path) -> None:
    """With what to set."""

    class Bare(ProviderConformance):
        async def make_worker(self, tmp_path: Path) -> Provider:
            return ScriptedProvider(["hello"], repeat=True)

    for check in ("test_too_many_requests_are_rate_limited", "test_no_connection_is_leaked"):
        with pytest.raises(pytest.skip.Exception, match=r"^does not apply: .*set `wire`"):
            await getattr(Bare(), check)(tmp_path)
