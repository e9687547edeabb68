"""The kit of memories: a right one passes it, and each check finds a wrong one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fairlead import Memory
from fairlead.testing import JournalConformance, MemoryConformance, RecallConformance

from .kit_broken import checks_of, is_found, unproven
from .kit_memory import FileMemory

# A process of its own finds the memory of this directory as this one does.
sys.path.append(str(Path(__file__).parents[FileMemory.__module__.count(".")]))


class FileKit(MemoryConformance):
    entry_point = FileMemory.__module__
    wrong = ""

    async def make_worker(self, tmp_path: Path) -> Memory:
        return FileMemory(tmp_path, self.wrong)


class TestFileMemory(FileKit):
    """The right one."""


EVENTS: dict[str, tuple[str, str]] = {
    "loses a field": ("test_events_come_back_equal", "events come back equal"),
    "spoils words": ("test_hostile_words_come_back_equal", "events come back equal"),
    "counts from 0": ("test_versions_have_no_gap", "versions have no gap"),
    "gives the count of the append": ("test_append_gives_the_new_version", "append gives the new version"),
    "ignores after": ("test_reading_goes_on_after_a_version", "`after` leaves out"),
    "raises for an unknown session": ("test_unknown_session_is_empty", "nobody"),
    "hands out its own list": ("test_what_was_read_is_the_readers_own", "the reader's own"),
    "names no versions": ("test_conflict_names_both_versions", "a conflict names both versions"),
    "knows keys of a session only": ("test_known_key_is_refused", "are refused"),
    "writes before it looks": ("test_refused_append_leaves_nothing", "a refused append leaves no key"),
    "takes the empty key for one": ("test_message_without_a_key_is_never_a_duplicate", "is known"),
    "folds keys": ("test_key_leads_to_its_session", "is known"),
    "folds names": ("test_any_text_is_the_name_of_a_session", "found version"),
    "keeps little": ("test_big_event_is_kept", ""),
    "keeps a thousand": ("test_many_events_are_kept", "many events come back"),
    "looks and then writes": ("test_appends_at_once_keep_one_order", "no append is lost"),
    "looks for keys and then writes": ("test_same_key_at_once_is_taken_once", "is taken once"),
    "writes one by one": ("test_cancelled_append_is_whole_or_nothing", "whole or nothing"),
    "writes later": ("test_append_after_a_cancelled_one_keeps_the_order", "too late"),
    "wants each message once": ("test_session_can_be_copied", "that message is known"),
}
SESSIONS: dict[str, tuple[str, str]] = {
    "lists by name": ("test_sessions_are_listed_last_used_first", "last used first"),
    "ignores the limit": ("test_list_has_no_more_than_its_limit", "`limit` is kept"),
    "counts before in": ("test_list_can_be_read_in_pages", "`before` gives what is older"),
    "matches owners by their beginning": ("test_owner_sees_their_own_sessions", "what is another's"),
    "forgets the owner": ("test_list_tells_version_owner_and_times", "version and owner are told"),
    "is always pending": ("test_list_tells_what_is_pending", "unfinished work is told"),
    "claims what is its own": ("test_session_is_not_taken_from_its_living_owner", "its living owner"),
    "claims again and again": ("test_pending_session_is_taken_over_once", "nobody gets the same one again"),
    "takes from the living": ("test_two_workers_do_not_take_from_each_other", "its living owner"),
    "claims without writing it down": ("test_two_workers_claim_nothing_both", "no two get the same session"),
    "keeps versions in its memory": ("test_two_workers_append_in_one_order", "are refused"),
    "forgets the last event": ("test_restart_loses_nothing", "a restart loses nothing"),
    "forgets keys when closed": ("test_session_goes_on_after_a_restart", "keys stay known"),
    "opens slowly": ("test_opening_a_large_journal_takes_little_time", "a journal of 10,000 events opens"),
    "still lists what is erased": ("test_erased_session_is_gone", "no other is"),
    "always erased something": ("test_erasing_says_whether_there_was_one", "erase says whether there was one"),
    "forgets keys of what is erased": ("test_keys_of_an_erased_session_stay_known", "are refused"),
    "keeps the version of what is erased": ("test_name_of_an_erased_session_can_be_used_again", "found version"),
    "marks what is erased": ("test_words_of_an_erased_session_are_in_no_file", "its words are in no file"),
    "keeps keys of what is erased": ("test_keys_of_an_erased_session_are_kept_as_hashes", "kept as hashes"),
    "erases over others": ("test_erasing_beside_writing_harms_nobody", "erasing touches no other session"),
    "finds nothing after a conflict": ("test_journal_is_a_dictionary", "find gives the key's session"),
    "writes when closed": ("test_journal_is_a_dictionary_that_survives_kills", "expected: "),
    "writes after it answered": ("test_killed_process_has_kept_what_it_acknowledged", "acknowledged survives"),
    "frees sessions when closed": ("test_sessions_of_a_killed_process_are_taken_over", "what a dead process left"),
}
NOTES: dict[str, tuple[str, str]] = {
    "gives another note": ("test_adding_gives_the_note_as_it_is_kept", "add gives the note"),
    "forgets tags": ("test_note_is_found_whole", "found by its words, whole"),
    "sorts by time": ("test_nearest_note_comes_first", "the nearest note comes first"),
    "has odd scores": ("test_scores_fall", "higher is nearer"),
    "gives all": ("test_limit_is_kept", "`limit` is kept"),
    "gives the oldest": ("test_empty_query_gives_the_newest", "an empty query gives the newest"),
    "gives notes twice": ("test_no_note_comes_twice", "no note comes twice"),
    "searches by beginning": ("test_search_never_leaves_its_scope", "a search never leaves its scope"),
    "has one id for all": ("test_same_id_in_two_scopes_is_two_notes", "replaces nothing"),
    "erases by beginning": ("test_erasing_never_leaves_its_scope", "erase gives the number removed"),
    "takes regular expressions": ("test_any_text_is_a_query", ""),
    "strips notes": ("test_any_text_is_a_note", "kept unchanged"),
    "folds ids": ("test_any_text_is_an_id_and_a_scope", "any text is an id"),
    "adds what it has": ("test_same_id_replaces", "the same id replaces"),
    "erases nothing": ("test_erased_note_is_not_found", "erase gives the number removed"),
    "erases one of a scope": ("test_erased_scope_is_empty", "what is erased is not found"),
    "keeps a copy of notes": ("test_words_of_an_erased_note_are_in_no_file", "in no file"),
    "forgets notes when closed": ("test_notes_survive_a_restart", "a note is durable"),
    "undoes erasing when closed": ("test_erased_note_stays_erased", "stays erased"),
    "looks and then writes notes": ("test_notes_at_once_are_all_kept", "no note is lost"),
    "writes half a note": ("test_cancelled_note_is_whole_or_nothing", "whole or nothing"),
    "cuts notes": ("test_long_note_is_kept", "kept whole"),
    "searches slowly": ("test_search_among_many_notes_takes_little_time", "a search among 300 notes ends"),
    "loses notes that change": ("test_recall_is_a_dictionary", "expected: "),
}
MUTANTS = EVENTS | SESSIONS | NOTES


@pytest.mark.parametrize("wrong", sorted(MUTANTS))
async def test_wrong_memory_is_found(wrong: str, tmp_path: Path) -> None:
    """By the check that stands beside it, in words of the contract."""
    check, words = MUTANTS[wrong]
    kit = FileKit()
    kit.wrong, kit.options = wrong, {"wrong": wrong}
    kit.open_seconds = kit.search_seconds = 0.5
    kit.sequences = 200  # chance finds it: give it the time that it needs here
    await is_found(kit, check, words, tmp_path)


def test_every_check_has_its_mutant() -> None:
    """A check that finds nothing proves nothing."""
    assert [] == unproven(MemoryConformance, MUTANTS)
    for kit, least in ((MemoryConformance, 60), (JournalConformance, 40), (RecallConformance, 20)):
        assert len(checks_of(kit)) >= least
