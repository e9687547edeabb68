"""Matrix as the core sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from fairlead import Capabilities, Channel, Delivery, Draft, Finding, Inbox, Outbound
from fairlead.errors import FairleadError
from fairlead_matrix._json import listed, texted
from fairlead_matrix._options import Options, crosses_network

if TYPE_CHECKING:
    from fairlead_matrix._account import Account
    from fairlead_matrix._rooms import Rooms
    from fairlead_matrix._sync import Sync
    from fairlead_matrix._writer import Writer

__all__ = ["MatrixChannel"]

CHECK_SECONDS = 4.0
CHECKED_ROOMS = 50
SHOWN_ROOMS = 5


class MatrixChannel(Channel):
    """The rooms of one account: what is said there is handed in, and answered there."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.name = options.name
        self.capabilities = Capabilities(
            max_chars=options.max_chars,
            markup="markdown",
            streaming=options.streaming,
            edits=True,
            threads=True,
            media=frozenset({"application/*", "audio/*", "image/*", "text/*", "video/*"}),
            idempotency=True,  # the transaction id of a message is its id
        )
        self._account: Account | None = None
        self._rooms: Rooms | None = None
        self._writer: Writer | None = None
        self._sync: Sync | None = None

    async def open(self) -> None:
        """Import the HTTP and Markdown libraries and make the client; nothing is sent yet."""
        # 0.3 s of imports together that only an enabled channel pays
        from fairlead_matrix._account import Account  # noqa: PLC0415  # see above
        from fairlead_matrix._api import Api  # noqa: PLC0415  # see above
        from fairlead_matrix._media import Media  # noqa: PLC0415  # see above
        from fairlead_matrix._reader import Reader  # noqa: PLC0415  # see above
        from fairlead_matrix._rooms import Rooms  # noqa: PLC0415  # see above
        from fairlead_matrix._sync import Sync  # noqa: PLC0415  # see above
        from fairlead_matrix._writer import Writer  # noqa: PLC0415  # see above

        self._account = account = Account(self.options, Api(self.options.homeserver))
        self._rooms = rooms = Rooms(account)
        media = Media(account)
        self._writer = Writer(account, rooms, media)
        self._sync = Sync(account, rooms, Reader(account, rooms, media), self._writer)

    async def close(self) -> None:
        """Close the connections."""
        if self._account is not None:
            await self._account.api.close()

    async def run(self, inbox: Inbox) -> None:
        """Read the rooms until cancelled. `FairleadError`: the homeserver lets us in no more."""
        assert self._sync is not None, "opened before it runs"
        await self._sync.run(inbox)

    async def send(self, outbound: Outbound) -> Delivery:
        """As an event whose transaction id is the message's id; as the last form of its draft where there is one."""
        if self._writer is None:
            return Delivery("failed", reason="the channel is not open", retry_after=1.0)
        return await self._writer.send(outbound)

    async def edit(self, delivery: Delivery, outbound: Outbound) -> Delivery:
        """Replace a message that was sent. `FairleadError`: it was not, or nobody knows."""
        assert self._writer is not None, "opened before it sends"
        return await self._writer.edit(delivery, outbound)

    async def preview(self, draft: Draft) -> None:
        """One message that is edited while the answer grows."""
        if self._writer is not None:
            await self._writer.preview(draft)

    async def check(self) -> Sequence[Finding]:
        """The homeserver, the login, and the rooms where nothing can be said."""
        assert self._account is not None, "opened before it is checked"
        options, findings = self.options, list[Finding]()
        if crosses_network(options.homeserver):
            detail = "plain HTTP: whoever is on the way can read the messages and the token"
            findings.append(Finding("transport", ok=True, detail=detail))
        try:
            with trio.fail_after(CHECK_SECONDS):
                await self._account.api.call("GET", "/_matrix/client/versions", seconds=CHECK_SECONDS)
        except (FairleadError, trio.TooSlowError) as error:
            step = f"curl {options.homeserver}/_matrix/client/versions"
            return [*findings, Finding("homeserver", ok=False, detail=str(error) or "it is too slow", next_step=step)]
        findings.append(Finding("homeserver", ok=True, detail=f"{options.homeserver} answers"))
        try:
            with trio.fail_after(CHECK_SECONDS):
                return [*findings, *await self._check_account()]
        except (FairleadError, trio.TooSlowError) as error:
            step = getattr(error, "next_step", "") or f"check the login in [channels.{self.name}]"
            detail = getattr(error, "problem", "it is too slow")
            return [*findings, Finding("login", ok=False, detail=detail, next_step=step)]

    async def _check_account(self) -> list[Finding]:
        from fairlead_matrix._api import path_of  # noqa: PLC0415  # open() has paid for it

        assert self._account is not None
        assert self._rooms is not None
        found = await self._account.call("GET", path_of("account", "whoami"))
        device = texted(found, "device_id")
        findings = [Finding("login", ok=True, detail=f"{self._account.user_id}, device {device or 'unknown'}")]
        rooms = [str(room) for room in listed(await self._account.call("GET", path_of("joined_rooms")), "joined_rooms")]
        async with trio.open_nursery() as nursery:
            for room in rooms[:CHECKED_ROOMS]:
                nursery.start_soon(self._look_at, room)
        locked = sorted(self._rooms.encrypted & set(rooms))
        findings.append(Finding("rooms", ok=True, detail=f"{len(rooms)} joined, {len(locked)} of them encrypted"))
        if locked:
            names = ", ".join(locked[:SHOWN_ROOMS])
            detail = f"encrypted rooms are not supported; nothing is read in, or sent to: {names}"
            step = "talk in a room without encryption (Element: switch it off when making the room)"
            findings.append(Finding("encryption", ok=False, detail=detail, next_step=step))
        return findings

    async def _look_at(self, room_id: str) -> None:
        assert self._rooms is not None
        try:
            await self._rooms.get(room_id)
        except FairleadError:
            return  # of which the other findings tell
