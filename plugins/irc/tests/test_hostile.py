"""Whatever lines a server sends, in whatever order: nothing is raised, and nothing grows without an end."""

from __future__ import annotations

from contextlib import suppress

from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from fairlead import Settings
from fairlead_irc._batches import MOST_CHARS, MOST_LINES, MOST_OPEN, Batches
from fairlead_irc._delivery import Ticket
from fairlead_irc._hearing import REMEMBERED, Ears
from fairlead_irc._login import Login, Refused
from fairlead_irc._options import Options, read_options
from fairlead_irc._people import Speaker, nick_in
from fairlead_irc._standing import Standing
from fairlead_irc._wire import Line, render

COMMANDS = (
    *("001", "005", "263", "311", "330", "318", "376", "396", "401", "403", "404", "433", "437", "439", "475", "903"),
    *("904", "AUTHENTICATE", "BATCH", "CAP", "ERROR", "FAIL", "JOIN", "KICK", "NICK", "NOTICE", "PART", "PING", "PONG"),
    *("PRIVMSG", "QUIT", "TAGMSG"),
)
WORDS = st.one_of(
    st.sampled_from(
        [
            "bot",
            "#room",
            "@#room",
            "ann",
            "*",
            "+a",
            "-a",
            "+b",
            "LS",
            "ACK",
            "NAK",
            "sasl",
            "sasl batch",
            "draft/multiline",
        ]
    ),
    st.sampled_from(
        ["chathistory", "CASEMAPPING=x", "CHANTYPES=", "STATUSMSG=@", "bot: hello", "\x01ACTION x\x01", "\x01", "+"]
    ),
    st.text(max_size=20),
)
TAGS = st.dictionaries(
    st.sampled_from(["batch", "label", "time", "msgid", "account", "replay", "draft/multiline-concat"]),
    st.one_of(st.sampled_from(["a", "b", "t.1", "2027-01-15T08:00:00.000Z", ""]), st.text(max_size=10)),
)
SOURCES = st.sampled_from(["", "irc.test", "ann!ann@home", "bot!bot@bots", "!@", "bot", "ann!", "@"])
LINES = st.builds(Line, st.sampled_from(COMMANDS), st.lists(WORDS, max_size=6).map(tuple), SOURCES, TAGS)


def options() -> Options:
    given_ = {"host": "irc.test", "nick": "bot", "channels": ["#room"], "account": "robot", "password": "secret"}
    return read_options(Settings("irc", given_))


@define
class Beside:
    """What `Ears` need of a connection."""

    here: Standing
    caps: tuple[str, ...] = ("account-tag",)


@given(st.lists(LINES, max_size=30))
async def test_any_lines_leave_the_channel_sound(lines: list[Line]) -> None:
    """Through batches, to whoever reads them."""
    batches, here = Batches(), Standing("bot", ("#room",))
    ticket, ears = Ticket("ann", "t", "rfc1459", echo=True), Ears(options(), lambda: 0.0)
    ticket.expect("hello")
    for line in lines:
        found = batches.take(line)
        if found is not None:
            ticket.take(found, own=here.is_me(found.nick))
            here.take(found)
            if found.command == "PRIVMSG":
                inbound = await ears.inbound(Beside(here), found)  # type: ignore[arg-type]  # as much of it as is used
                assert inbound is None or (inbound.author.id and inbound.external_id is not None)
    assert here.me
    ticket.delivery()


@given(st.lists(LINES, max_size=30))
def test_any_lines_lead_the_login_to_an_end_or_on(lines: list[Line]) -> None:
    """`Refused` or nothing; and the password goes nowhere before the server has switched SASL on."""
    login = Login(options())
    said = login.begin()
    with suppress(Refused):
        for line in lines:
            said += login.take(line)
    assert all(raw.endswith(b"\r\n") and raw.count(b"\r\n") == 1 for raw in said)


def test_batches_without_an_end_do_not_grow() -> None:
    """Neither in number nor in length."""
    batches = Batches()
    for number in range(10 * MOST_OPEN):
        batches.take(Line("BATCH", (f"+{number}", "draft/multiline", "bot"), "ann!a@b"))
    for _ in range(2 * MOST_LINES):
        batches.take(Line("PRIVMSG", ("bot", "x" * 400), "ann!a@b", {"batch": "0"}))
    found = batches.take(Line("BATCH", ("-0",)))
    assert found is not None
    assert len(found.param(-1)) <= MOST_CHARS
    assert None is batches.take(Line("BATCH", (f"-{5 * MOST_OPEN}",)))


async def test_people_and_questions_are_forgotten_in_time() -> None:
    """The oldest first."""
    ears, beside = Ears(options(), lambda: 0.0), Beside(Standing("bot", ()))
    for number in range(2 * REMEMBERED):
        line = Line("PRIVMSG", ("bot", "hi"), f"n{number}!a@b", {"msgid": str(number)})
        await ears.inbound(beside, line)  # type: ignore[arg-type]  # as much of it as is used
    assert "" == ears.asker("n0!a@b", "0")
    assert f"n{2 * REMEMBERED - 1}" == ears.asker(f"n{2 * REMEMBERED - 1}!a@b", str(2 * REMEMBERED - 1))


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_place_of_an_address_is_one_word_or_none(nick: str, mask: str, account: str) -> None:
    """Addresses come from the journal, where strangers' names stand: no nick is two, or a channel."""
    for conversation in (nick, f"{nick}!{mask}", f"{nick}/{account}"):
        found = nick_in(conversation)
        if found:
            assert not set(found) & set(" ,\r\n\0!/")
            assert found[0] not in "#&+:@"
            assert 2 == render("PRIVMSG", found, "hello").count(b" ")
    speaker = Speaker("ann", "a@b", account)
    assert speaker.is_in(speaker.conversation)
