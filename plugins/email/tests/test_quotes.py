"""What is new in a mail, and what its program put below."""

from __future__ import annotations

import time

import pytest

from fairlead_email._quotes import new_text

ATTRIBUTIONS = (
    "On Mon, 3 Mar 2027 at 10:15, Bot <bot@example.org> wrote:",
    "On Mon, 3 Mar 2027 at 10:15, Bot\n<bot@example.org> wrote:",
    "Am 03.03.2027 um 10:15 schrieb Bot <bot@example.org>:",
    "Am Mo., 3. März 2027 um 10:15 Uhr schrieb Bot\n<bot@example.org>:",
    "Le lun. 3 mars 2027 à 10:15, Bot <bot@example.org> a écrit :",
    "El lun, 3 mar 2027 a las 10:15, Bot (<bot@example.org>) escribió:",
    "Il giorno lun 3 mar 2027 alle ore 10:15 Bot <bot@example.org> ha scritto:",
    "Em seg., 3 de mar. de 2027 às 10:15, Bot <bot@example.org> escreveu:",
    "Op ma 3 mrt 2027 om 10:15 schreef Bot <bot@example.org>:",
    "Den mån 3 mars 2027 kl 10:15 skrev Bot <bot@example.org>:",
    "po 3. 3. 2027 v 10:15 odesílatel Bot <bot@example.org> napsal:",
    "pon., 3 mar 2027 o 10:15 Bot <bot@example.org> napisał(a):",
    "пн, 3 мар. 2027 г. в 10:15, Bot <bot@example.org>:",  # noqa: RUF001  # as it is written
    "3 марта 2027, Bot написал:",
    "Bot <bot@example.org> 于2027年3月3日周一 10:15写道：",  # noqa: RUF001  # as it is written
    "2027年3月3日(月) 10:15 Bot <bot@example.org>のメール:",
)
OUTLOOK = (
    f"{'_' * 32}\nFrom: Bot <bot@example.org>\nSent: Monday, 10:15 AM\nTo: Ann\nSubject: Re: A question",
    "-----Original Message-----\nFrom: Bot\nSent: Monday\nTo: Ann\nSubject: x",
    "Von: Bot <bot@example.org>\nGesendet: Montag, 3. März 2027 10:15\nAn: Ann\nBetreff: AW: Frage",
    "De : Bot <bot@example.org>\nEnvoyé : lundi 3 mars 2027\nÀ : Ann\nObjet : RE: question",
    "*From:* Bot\n*Date:* Monday\n*To:* Ann\n*Subject:* x",
)


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_quoted_mail_below_is_dropped(attribution: str) -> None:
    """In the languages of the larger mail programs, also where the line is folded."""
    assert "Yes, please.\n\nAnn" == new_text(
        f"Yes, please.\n\nAnn\n\n{attribution}\n\n> Shall I?\n> \n> Bot\n", reply=True
    )


@pytest.mark.parametrize("block", OUTLOOK)
def test_outlooks_block_is_dropped_with_what_follows(block: str) -> None:
    """It quotes without marks."""
    assert "Yes." == new_text(f"Yes.\n\n{block}\n\nShall I?\nBot\n", reply=True)


def test_answers_between_quotations_keep_them() -> None:
    """They say what is answered."""
    text = "On 3 March 2027, Bot wrote:\n> Red or blue?\n\nRed.\n\n> Large or small?\n\nSmall."
    assert text == new_text(text, reply=True)


def test_answer_below_the_quoted_mail_is_found() -> None:
    """Some write at the end."""
    assert "Yes." == new_text("On 3 March 2027, Bot wrote:\n> Shall I?\n> Really?\n\nYes.\n", reply=True)


def test_quotations_that_are_the_authors_own_stay() -> None:
    """A first mail quotes nobody's mail, and neither does one in the middle of new words."""
    text = "> to be or not to be\n\nWho wrote this?"
    assert text == new_text(text, reply=False)
    assert text == new_text(text, reply=True)
    poem = "Read this and tell me who wrote:\nFrom: here\nTo: eternity"
    assert poem == new_text(poem, reply=True)


def test_signature_is_dropped() -> None:
    """Behind two hyphens and a space, and the line that a telephone adds."""
    assert "Yes." == new_text("Yes.\n-- \nAnn Example\nExample Ltd.\n", reply=False)
    assert "Yes." == new_text("Yes.\n\nSent from my iPhone\n", reply=False)
    assert "Ja." == new_text("Ja.\n\nVon meinem iPhone gesendet", reply=False)


def test_lists_and_code_are_no_signature() -> None:
    """Hyphens have other uses."""
    for text in ("- one\n- two", "a = 1\n    b = 2\n", "one\n---\ntwo", "--\nall of it"):
        assert text.rstrip() == new_text(text, reply=True)


def test_mail_of_nothing_but_quotations_is_kept_whole() -> None:
    """Better too much than nothing."""
    text = "On 3 March 2027, Bot wrote:\n> Shall I?"
    assert text == new_text(text, reply=True)


@pytest.mark.parametrize(
    "piece", ["> a\n", "On 1 a wrote:\n", "From: a\n", "On 1 a wrote:\n> b\n", "-- \n", "*" * 9, "\n", "a\n> b\n"]
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    """A mail of 100 kB in less than a second."""
    began = time.monotonic()
    new_text(piece * (100_000 // len(piece)), reply=True)
    assert time.monotonic() - began < 1
