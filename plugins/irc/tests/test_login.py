"""The dialogue of a new connection, line by line."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from fairlead import Settings
from fairlead_irc._login import Login, Refused
from fairlead_irc._options import read_options
from fairlead_irc._wire import parse


def begin(**options: Any) -> tuple[Login, list[str]]:
    login = Login(read_options(Settings("irc", {"host": "irc.test", "nick": "bot", **options})))
    return login, shown(login.begin())


def shown(lines: list[bytes]) -> list[str]:
    return [line.decode().removesuffix("\r\n") for line in lines]


def tell(login: Login, *lines: str) -> list[str]:
    """What it answers to the last of these lines."""
    answers: list[str] = []
    for line in lines:
        parsed = parse(line.encode())
        assert parsed is not None
        answers = shown(login.take(parsed))
    return answers


def test_old_server_without_capabilities_lets_us_in() -> None:
    """It does not know the word, and goes on."""
    login, first = begin(server_password="sesame", username="robot")
    assert ["CAP LS :302", "PASS :sesame", "NICK :bot", "USER robot 0 * :fairlead"] == first
    assert [] == tell(login, ":irc.test 421 * CAP :Unknown command", ":irc.test 001 bot :Welcome")
    assert (True, {}) == (login.done, login.caps)


def test_only_what_is_offered_is_asked_for() -> None:
    """In lists of several lines too; the value of a capability is kept."""
    login, _ = begin()
    asked = tell(login, "CAP * LS * :sasl server-time", "CAP * LS :batch draft/multiline=max-bytes=4096 unheard/of")
    assert ["CAP REQ :batch draft/multiline server-time"] == asked
    assert ["CAP :END"] == tell(login, "CAP * ACK :batch draft/multiline server-time")
    assert {"batch": "", "draft/multiline": "max-bytes=4096", "server-time": ""} == login.caps


def test_server_that_offers_nothing_or_refuses_is_logged_in_to() -> None:
    """Without the extensions."""
    assert ["CAP :END"] == tell(begin()[0], "CAP * LS :")
    login, _ = begin()
    assert ["CAP :END"] == tell(login, "CAP * LS :batch", "CAP * NAK :batch")
    assert {} == login.caps


def test_password_goes_by_sasl() -> None:
    """Account and password, in one line or in several of 400 characters."""
    for password in ("secret", "x" * 291, "x" * 500):
        login, _ = begin(account="robot", password=password)
        assert ["CAP REQ :sasl"] == tell(login, "CAP * LS :sasl=EXTERNAL,PLAIN")
        assert ["AUTHENTICATE :PLAIN"] == tell(login, "CAP * ACK :sasl")
        chunks = [line.removeprefix("AUTHENTICATE :") for line in tell(login, "AUTHENTICATE +")]
        assert all(len(chunk) <= 400 for chunk in chunks)
        assert len(chunks[-1]) < 400
        whole = base64.b64decode("".join(chunks).removesuffix("+") if chunks[-1] == "+" else "".join(chunks))
        assert f"robot\0robot\0{password}".encode() == whole
        assert ["CAP :END"] == tell(login, ":irc.test 903 bot :done")


def test_certificate_goes_by_sasl_external(tmp_path: Any) -> None:
    """The account is what the certificate belongs to."""
    (tmp_path / "cert.pem").write_text("")
    login, _ = begin(client_cert=str(tmp_path / "cert.pem"))
    tell(login, "CAP * LS :sasl")
    assert ["AUTHENTICATE :EXTERNAL"] == tell(login, "CAP * ACK :sasl")
    assert ["AUTHENTICATE :+"] == tell(login, "AUTHENTICATE +")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["CAP * LS :batch"], "offers no SASL PLAIN"),
        (["CAP * LS :sasl=EXTERNAL"], "offers no SASL PLAIN"),
        (["CAP * LS :sasl", "CAP * NAK :sasl"], "does not switch it on"),
        (["CAP * LS :sasl", "CAP * ACK :sasl", ":irc.test 904 bot :failed"], "does not accept the account: failed"),
        ([":irc.test 001 bot :Welcome"], "without looking at the account"),
    ],
)
def test_nobody_logs_in_without_the_account_that_was_asked_for(lines: list[str], reason: str) -> None:
    """A password is not sent elsewhere, and nobody else has our name."""
    login, _ = begin(account="robot", password="secret")
    with pytest.raises(Refused, match=reason) as caught:
        tell(login, *lines)
    assert "[channels.irc]" in caught.value.next_step


def test_sasl_is_asked_for_again_where_the_rest_was_refused() -> None:
    """A server refuses a list as a whole."""
    login, _ = begin(account="robot", password="secret")
    assert ["CAP REQ :sasl"] == tell(login, "CAP * LS :sasl batch", "CAP * NAK :batch sasl")
    assert ["AUTHENTICATE :PLAIN"] == tell(login, "CAP * ACK :sasl")


def test_taken_nick_is_replaced() -> None:
    """By each alternate; then it says so."""
    login, _ = begin(alternates=["bot2"])
    assert ["NICK :bot2"] == tell(login, ":irc.test 433 * bot :Nickname is already in use")
    with pytest.raises(Refused, match="no nick is free or allowed: in use"):
        tell(login, ":irc.test 433 * bot2 :in use")


@pytest.mark.parametrize(
    "line", ["ERROR :Closing Link (banned)", ":irc.test 464 * :Password incorrect", ":x 465 * :banned"]
)
def test_refused_connection_is_told_with_the_servers_words(line: str) -> None:
    """And with the keys to look at."""
    with pytest.raises(Refused, match=r"refused the connection: (Closing Link|Password incorrect|banned)"):
        tell(begin()[0], line)


def test_ping_during_the_login_is_answered() -> None:
    """Some servers let nobody in before."""
    assert ["PONG :12345"] == tell(begin()[0], "PING :12345")
