"""Telegram as the core sees it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from fairlead import Capabilities, Channel, Delivery, Draft, Finding, Inbox, Outbound
from fairlead.errors import FairleadError
from fairlead_telegram._options import Options

if TYPE_CHECKING:
    from fairlead_telegram._api import Api
    from fairlead_telegram._intake import Intake
    from fairlead_telegram._keyboards import Keyboards
    from fairlead_telegram._people import People
    from fairlead_telegram._poll import Backoff, Poller
    from fairlead_telegram._sender import Sender
    from fairlead_telegram._state import State
    from fairlead_telegram._updates import Bot

__all__ = ["TelegramChannel"]

CLOSE_SECONDS = 2.0

log = logging.getLogger(__name__)


class TelegramChannel(Channel):
    """Messages come by long polling or by a webhook; answers are messages that grow by being edited."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.name = options.name
        self.capabilities = Capabilities(
            max_chars=None,  # a cut that knows the markup goes on with it in the next message; the core's does not
            markup="markdown" if options.markup == "markdown" else "plain",
            streaming=options.streaming,
            edits=True,
            threads=True,
            media=frozenset({"application/json", "application/*", "audio/*", "image/*", "text/*", "video/*"}),
        )
        self._api: Api | None = None
        self._state: State | None = None
        self._keyboards: Keyboards | None = None
        self._people: People | None = None
        self._sender: Sender | None = None
        self._poller: Poller | None = None

    async def open(self) -> None:
        """Import the HTTP library, and read what is kept."""
        # 0.1 s of imports that only an enabled channel pays.
        from fairlead_telegram._api import Api  # noqa: PLC0415  # see above
        from fairlead_telegram._keyboards import Keyboards  # noqa: PLC0415  # see above
        from fairlead_telegram._people import People  # noqa: PLC0415  # see above
        from fairlead_telegram._sender import Sender  # noqa: PLC0415  # see above
        from fairlead_telegram._state import State  # noqa: PLC0415  # see above

        self._api = Api(self.options.base, self.options.token)
        self._state = State(self.options.folder / "telegram.json")
        await trio.to_thread.run_sync(self._state.load)
        self._keyboards = Keyboards(self._state)
        self._people = People(self.name, self._state)
        self._sender = Sender(self.options, self._people, self._api, self._state, self._keyboards)

    async def close(self) -> None:
        """Close the connections."""
        if self._api is not None:
            with trio.move_on_after(CLOSE_SECONDS):
                await self._api.close()

    async def run(self, inbox: Inbox) -> None:
        """Receive until cancelled; faults of the network are waited out. `FairleadError`: what the operator must do."""
        from fairlead_telegram._intake import Intake  # noqa: PLC0415  # open() has paid for it
        from fairlead_telegram._poll import Backoff  # noqa: PLC0415  # the same

        assert self._api is not None
        assert self._keyboards is not None
        assert self._people is not None
        backoff = Backoff()
        try:
            bot = await self._greet(backoff)
            intake = Intake(self.options, bot, self._people, self._api, self._keyboards, inbox)
            if self.options.webhook_url:
                await self._serve(intake, inbox, backoff)
            else:
                await self._poll(intake, inbox, backoff)
        finally:
            self._poller = None

    async def _greet(self, backoff: Backoff) -> Bot:
        """Who we are, as soon as Telegram can be reached."""
        from fairlead_telegram._updates import Bot  # noqa: PLC0415  # open() has paid for it

        found = await self._insist("getMe", {}, backoff)
        try:
            return Bot(int(found["id"]), str(found["username"]))
        except (KeyError, TypeError, ValueError):
            raise FairleadError(
                f"{self._host} does not say which bot the token belongs to",
                next_step=f"check `api_url` in [channels.{self.name}]",
            ) from None

    async def _insist(self, method: str, params: Mapping[str, object], backoff: Backoff) -> Any:
        """The result of a call, after as many tries as it takes. `FairleadError`: more of them would not help."""
        from fairlead_telegram._api import ApiError, Refused  # noqa: PLC0415  # open() has paid for it
        from fairlead_telegram._poll import denied  # noqa: PLC0415  # the same

        assert self._api is not None
        while True:
            least = 0.0
            try:
                found = await self._api.call(method, params)
            except Refused as error:
                if error.retry_after is None:
                    raise denied(self.name, error) or FairleadError(
                        f"Telegram refuses the settings of channels.{self.name}: {error}",
                        next_step=f"change [channels.{self.name}] accordingly, and look again with: fairlead doctor",
                    ) from None
                least = error.retry_after
            except ApiError as error:
                log.warning("%s", error)
            else:
                backoff.reset()
                return found
            await backoff.pause(least)

    # -- long polling

    async def _poll(self, intake: Intake, inbox: Inbox, backoff: Backoff) -> None:
        from fairlead_telegram._poll import Poller  # noqa: PLC0415  # open() has paid for it

        assert self._api is not None
        self._poller = Poller(self._api, intake, backoff, self._release, self._kinds())
        await self._release()
        inbox.ready(f"https://t.me/{intake.bot.username}")
        await self._poller.run()

    async def _release(self) -> None:
        """Take away a webhook that we have set earlier. `FairleadError`: it is somebody else's."""
        from fairlead_telegram._poll import Backoff  # noqa: PLC0415  # open() has paid for it

        assert self._state is not None
        found = await self._insist("getWebhookInfo", {}, Backoff())
        url = str(found.get("url") or "") if isinstance(found, dict) else ""
        if not url:
            return
        if url != self._state.get("webhook", "url"):
            raise FairleadError(
                f"the messages of this bot go to a webhook at {urlsplit(url).hostname}, so they cannot be polled",
                next_step="if nobody needs it: curl https://api.telegram.org/bot$TELEGRAM_TOKEN/deleteWebhook",
            )
        await self._insist("deleteWebhook", {}, Backoff())
        await self._state.drop("webhook", "url")

    # -- webhook

    async def _serve(self, intake: Intake, inbox: Inbox, backoff: Backoff) -> None:
        from fairlead_telegram._hook import Hook  # noqa: PLC0415  # open() has paid for it

        assert self._state is not None
        host, port, url = self.options.host, self.options.port, self.options.webhook_url
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            raise FairleadError(
                f"channels.{self.name} cannot listen on {host}:{port}: {error}",
                next_step=f"end what uses it (ss -ltnp), or set another `port` in [channels.{self.name}]",
            ) from error
        # Made anew for each run and told to Telegram alone, so that there is none to keep.
        hook = Hook(intake, secrets.token_urlsafe(32))
        failure: FairleadError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, hook.serve, listeners)
            try:
                await self._state.put("webhook", "url", url)
                params = {"url": url, "secret_token": hook.secret, "allowed_updates": self._kinds()}
                await self._insist("setWebhook", params, backoff)
                inbox.ready(f"http://{host}:{listeners[0].socket.getsockname()[1]}{urlsplit(url).path}")
                await trio.sleep_forever()
            except FairleadError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:  # outside of the nursery, which would wrap it in a group
            raise failure

    def _kinds(self) -> list[str]:
        """The kinds of updates to ask for."""
        wanted = {"edited_message": self.options.edited, "channel_post": self.options.channel_posts}
        from fairlead_telegram._updates import KINDS  # noqa: PLC0415  # open() has paid for it

        return [kind for kind in KINDS if wanted.get(kind, True)]

    # -- out

    async def send(self, outbound: Outbound) -> Delivery:
        """As messages of at most 4,096 characters; the first one is the draft's last form, where there was one."""
        if self._sender is None:
            return Delivery("failed", reason="the channel is not open", retry_after=1.0)
        return await self._sender.send(outbound)

    async def edit(self, delivery: Delivery, outbound: Outbound) -> Delivery:
        """Replace the text of an answer."""
        if self._sender is None:
            return Delivery("failed", reason="the channel is not open", retry_after=1.0)
        return await self._sender.edit(delivery, outbound)

    async def preview(self, draft: Draft) -> None:
        """A message that grows, at most once a second, in groups every three."""
        if self._sender is not None:
            await self._sender.preview(draft)

    # -- doctor

    @property
    def _host(self) -> str:
        return urlsplit(self.options.api_url).hostname or ""

    async def check(self) -> Sequence[Finding]:
        """Telegram and its answer to the token, the way by which messages come, the bot's rights in groups."""
        from fairlead_telegram._doctor import examine  # noqa: PLC0415  # only the doctor needs it

        assert self._api is not None
        return await examine(self._api, self.options, self._poller.trouble if self._poller is not None else "")
