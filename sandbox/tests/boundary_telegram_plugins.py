"""Two channels for Telegram on asyncio libraries as they are: python-telegram-bot and aiogram.

They are imported in the plugin's own process; the tests never import them. What they know of Fairlead is the contract.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from telegram.ext import Application, MessageHandler, filters

from fairlead import Address, Capabilities, Channel, Delivery, Inbound, Inbox, Outbound, Principal, Settings, Text
from fairlead.hookspecs import hookimpl

__all__ = ["fairlead_channels"]


class TelegramChannel(Channel):
    """What both have in common: an update of the platform becomes an inbound message."""

    capabilities = Capabilities(max_chars=4096)

    def __init__(self, settings: Settings) -> None:
        self._url = settings.options["url"]
        self._token = settings.options["token"].reveal()

    def _inbound(self, message: Any) -> Inbound:
        author = Principal(f"telegram:{message.from_user.id}", message.from_user.first_name)
        address = Address(self.name, conversation=str(message.chat.id))
        return Inbound(address, author, (Text(message.text),), str(message.message_id))


class PythonTelegramBot(TelegramChannel):
    """As the documentation of python-telegram-bot runs it beside other asyncio code."""

    async def open(self) -> None:
        self._application = Application.builder().token(self._token).base_url(f"{self._url}/bot").build()
        await self._application.initialize()

    async def close(self) -> None:
        await self._application.shutdown()

    async def run(self, inbox: Inbox) -> None:
        async def handle(update: Any, _context: Any) -> None:
            await inbox.accept(self._inbound(update.message))

        self._application.add_handler(MessageHandler(filters.TEXT, handle))
        assert self._application.updater is not None
        await self._application.updater.start_polling(timeout=5)
        await self._application.start()
        inbox.ready(self._url)
        try:
            await asyncio.Event().wait()
        finally:
            await self._application.updater.stop()
            await self._application.stop()

    async def send(self, outbound: Outbound) -> Delivery:
        text = "\n".join(part.text for part in outbound.parts if isinstance(part, Text))
        sent = await self._application.bot.send_message(outbound.address.conversation, text)
        return Delivery("sent", external_id=str(sent.message_id))


class Aiogram(TelegramChannel):
    """As the documentation of aiogram polls."""

    async def open(self) -> None:
        session = AiohttpSession(api=TelegramAPIServer.from_base(self._url))
        self._bot = Bot(self._token, session=session)

    async def close(self) -> None:
        await self._bot.session.close()

    async def run(self, inbox: Inbox) -> None:
        dispatcher = Dispatcher()

        async def handle(message: Any) -> None:
            await inbox.accept(self._inbound(message))

        dispatcher.message.register(handle)
        polling = asyncio.create_task(
            dispatcher.start_polling(self._bot, handle_signals=False, polling_timeout=5, close_bot_session=False)
        )
        inbox.ready(self._url)
        try:
            await asyncio.shield(polling)
        finally:
            await dispatcher.stop_polling()
            await polling

    async def send(self, outbound: Outbound) -> Delivery:
        text = "\n".join(part.text for part in outbound.parts if isinstance(part, Text))
        sent = await self._bot.send_message(outbound.address.conversation, text)
        return Delivery("sent", external_id=str(sent.message_id))


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    return [PythonTelegramBot(settings) if settings.options["library"] == "ptb" else Aiogram(settings)]
