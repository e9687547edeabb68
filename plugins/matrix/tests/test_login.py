"""The login: the device stays, a token that was ended is replaced, and what only a person can mend is said clearly."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from fairlead import Address, Outbound, Secret, Settings, Text
from fairlead.errors import PluginLoadError
from fairlead.testing import FakeInbox
from fairlead_matrix._account import LoggedOut
from fairlead_matrix._options import admits, crosses_network, read_options
from fairlead_matrix.plugin import fairlead_channels

from .far import PASSWORD, Person, World, make_channel, next_of, running


async def talk(world: World, directory: Path, ann: Person, room: str, bot: Person) -> dict[str, Any]:
    """Start with the password, hear one message, answer it, stop; the login that is kept."""
    channel = make_channel(world.synapse.url, directory, user=bot.user_id, password=PASSWORD)
    async with running(channel) as inbox:
        await ann.say(room, "hello")
        got = await next_of(inbox)
        delivery = await channel.send(Outbound(f"to {got.external_id}", got.address, (Text("hello"),)))
    assert "sent" == delivery.status
    kept: dict[str, Any] = json.loads((directory / "matrix" / "login.json").read_text())
    return kept


async def room_with(world: World) -> tuple[Person, Person, str]:
    ann, bot = await world.person(), await world.person("bot")
    room = await ann.make_room(bot.user_id)
    await bot.join(room)
    return ann, bot, room


async def test_restart_is_the_same_device(world: World, tmp_path: Path) -> None:
    """One login, kept where only its owner can read it."""
    ann, bot, room = await room_with(world)
    first = await talk(world, tmp_path, ann, room, bot)
    second = await talk(world, tmp_path, ann, room, bot)
    devices = (await bot.call("GET", "/_matrix/client/v3/devices"))["devices"]
    assert first == second
    assert 2 == len(devices)  # the other one is the test's own
    assert "Fairlead" in [device.get("display_name") for device in devices]
    assert 0o600 == stat.S_IMODE((tmp_path / "matrix" / "login.json").stat().st_mode)


async def test_login_that_was_ended_between_is_made_again_as_the_same_device(world: World, tmp_path: Path) -> None:
    """So the transaction ids go on to mean the same."""
    ann, bot, room = await room_with(world)
    first = await talk(world, tmp_path, ann, room, bot)
    await bot.call("POST", "/_matrix/client/v3/logout/all", {})
    again = await world.log_in(bot)
    second = await talk(world, tmp_path, ann, room, again)
    assert (first["device_id"], False) == (second["device_id"], first["access_token"] == second["access_token"])


async def test_login_that_is_ended_at_work_is_made_again(world: World, tmp_path: Path) -> None:
    """Nothing that was said meanwhile is lost."""
    ann, bot, room = await room_with(world)
    channel = make_channel(world.synapse.url, tmp_path, user=bot.user_id, password=PASSWORD)
    async with running(channel) as inbox:
        for number in range(2):
            await bot.call("POST", "/_matrix/client/v3/logout/all", {})
            bot = await world.log_in(bot)
            await ann.say(room, f"still there? {number}")
            got = await next_of(inbox)
            delivery = await channel.send(Outbound(f"turn-{number}", got.address, (Text("yes"),)))
            assert ("sent", f"still there? {number}") == (delivery.status, got.parts[0].text)


async def test_token_that_was_ended_has_a_next_step(world: World, tmp_path: Path) -> None:
    """Without a password nobody but the operator can help; the token itself is not shown."""
    _, bot, room = await room_with(world)
    secret = Secret(bot.token, "env MATRIX_TOKEN")
    channel = make_channel(world.synapse.url, tmp_path, access_token=secret)
    await bot.call("POST", "/_matrix/client/v3/logout", {})
    await channel.open()
    with pytest.raises(LoggedOut, match="env MATRIX_TOKEN: it is wrong, or was ended") as caught:
        await channel.run(FakeInbox())
    delivery = await channel.send(Outbound("turn-1", Address("matrix", "", room), (Text("hello"),)))
    findings = await channel.check()
    await channel.close()
    assert "put a new one there, or set `user` and `password` in [channels.matrix]" == caught.value.next_step
    assert ("failed", True) == (delivery.status, caught.value.next_step in delivery.reason)
    assert [("homeserver", True), ("login", False)] == [(each.subject, each.ok) for each in findings]
    assert caught.value.next_step == findings[-1].next_step
    assert bot.token not in f"{caught.value} {delivery} {findings}"


async def test_wrong_password_has_a_next_step(world: World, tmp_path: Path) -> None:
    """It is said once for each start, and not tried on and on by the channel itself."""
    _, bot, _ = await room_with(world)
    channel = make_channel(world.synapse.url, tmp_path, user=bot.user_id, password="wrong, surely")
    await channel.open()
    with pytest.raises(LoggedOut, match="does not let") as caught:
        await channel.run(FakeInbox())
    await channel.close()
    assert "check `user` and `password` in [channels.matrix]" == caught.value.next_step
    assert "wrong, surely" not in str(caught.value)


async def test_token_of_somebody_else_is_found_out(world: World, tmp_path: Path) -> None:
    """A token in the wrong variable must not speak in another name."""
    ann, bot, _ = await room_with(world)
    channel = make_channel(world.synapse.url, tmp_path, user=bot.user_id, access_token=ann.token)
    await channel.open()
    with pytest.raises(LoggedOut, match=f"the token belongs to {ann.user_id}, and `user` is {bot.user_id}"):
        await channel.run(FakeInbox())
    await channel.close()


async def test_check_says_who_is_logged_in(world: World, tmp_path: Path) -> None:
    """Without running; the device and the number of rooms as well."""
    _, bot, _ = await room_with(world)
    channel = make_channel(world.synapse.url, tmp_path, access_token=bot.token)
    await channel.open()
    findings = await channel.check()
    await channel.close()
    assert [True, True, True] == [finding.ok for finding in findings]
    assert f"{bot.user_id}, device " in findings[1].detail
    assert "1 joined, 0 of them encrypted" == findings[2].detail


async def test_check_without_a_homeserver_says_what_to_try(tmp_path: Path) -> None:
    """Nobody listens there."""
    channel = make_channel("http://127.0.0.1:9", tmp_path, access_token="t")
    await channel.open()
    (finding,) = await channel.check()
    await channel.close()
    assert (False, "curl http://127.0.0.1:9/_matrix/client/versions") == (finding.ok, finding.next_step)


# -- options


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "homeserver"),
        ({"homeserver": "matrix.example.org", "access_token": "t"}, "homeserver"),
        ({"homeserver": "https://u:p@matrix.example.org", "access_token": "t"}, "homeserver"),
        ({"homeserver": "https://[::1", "access_token": "t"}, "homeserver"),
        ({"homeserver": "https://matrix.example.org"}, "access_token"),
        ({"homeserver": "https://matrix.example.org", "user": "@bot:example.org"}, "access_token"),
    ],
)
def test_wrong_options_are_refused_with_the_key(options: dict[str, str], key: str) -> None:
    """While the app starts, with what to write."""
    with pytest.raises(PluginLoadError, match=f"channels.mx.{key}") as caught:
        fairlead_channels(Settings("mx", options))
    assert caught.value.next_step


def test_options_have_their_defaults(tmp_path: Path) -> None:
    """The manifest's defaults are the ones that count."""
    given = {"homeserver": "https://matrix.example.org/", "access_token": "t"}
    options = read_options(Settings("mx", given, data_dir=tmp_path))
    manifest = json.loads((Path(__file__).parents[1] / "src/fairlead_matrix/fairlead-plugin.json").read_text())
    for key, schema in manifest["settings"]["properties"].items():
        value = getattr(options, key)
        if "default" in schema:
            assert schema["default"] == (list(value) if isinstance(value, tuple | frozenset) else value), key
    assert ("https://matrix.example.org", tmp_path / "mx") == (options.homeserver, options.directory)


def test_plain_http_across_a_network_is_known() -> None:
    """Loopback is no network."""
    urls = (
        "http://127.0.0.1:8008",
        "http://localhost",
        "http://[::1]:8008",
        "https://x.org",
        "http://x.org",
        "http://10.0.0.1",
    )
    assert [False, False, False, False, True, True] == [crosses_network(url) for url in urls]


def test_server_of_an_inviter_is_the_whole_name(tmp_path: Path) -> None:
    """Neither its beginning nor its end; and what is no user id is nobody."""
    given = {
        "homeserver": "https://x.org",
        "access_token": "t",
        "invites": "listed",
        "invite_from": ["example.org:8448"],
    }
    options = read_options(Settings("mx", given))
    inviters = ("@a:example.org:8448", "@a:example.org", "@a:evil.example.org:8448", "a:example.org:8448", "", "@a")
    assert [True, False, False, False, False, False] == [admits(options, each, "@bot:x.org") for each in inviters]
