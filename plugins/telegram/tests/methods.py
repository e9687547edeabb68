"""What the methods of the Bot API do, with the errors that the real server answers with."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import socket
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from .entities import Unparsable, parse, units

BOT: dict[str, Any] = {"id": 123456789, "is_bot": True, "first_name": "Fairlead", "username": "fairlead_test_bot"}
ANN: dict[str, Any] = {"id": 4001, "is_bot": False, "first_name": "Ann", "last_name": "Lee", "username": "ann_lee"}
BOB: dict[str, Any] = {"id": 4002, "is_bot": False, "first_name": "Bob"}
PRIVATE: dict[str, Any] = {"id": 4001, "type": "private", "first_name": "Ann", "last_name": "Lee"}
BOBS: dict[str, Any] = {"id": 4002, "type": "private", "first_name": "Bob"}
GROUP: dict[str, Any] = {"id": -5001, "type": "group", "title": "The group"}
FORUM: dict[str, Any] = {"id": -1001234567890, "type": "supergroup", "title": "The forum", "is_forum": True}
NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message"
)


_numbers = itertools.count(1)
"""Of messages. A server that begins anew is the same Telegram."""


class Problem(Exception):
    def __init__(self, description: str, code: int = 400, **parameters: Any) -> None:
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters


class Methods:
    """The state of one bot, and its methods. `changed` guards all of it."""

    token = ""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.connections: set[socket.socket] = set()
        self.interrupted = False
        self.me: dict[str, Any] = {**BOT, "can_join_groups": True, "can_read_all_group_messages": False}
        self.me["supports_inline_queries"] = False
        self.chats: dict[int, dict[str, Any]] = {chat["id"]: chat for chat in (PRIVATE, BOBS, GROUP, FORUM)}
        self.messages: dict[int, dict[int, dict[str, Any]]] = {}
        """Chat to number to message; insertion is the order."""
        self.updates: list[dict[str, Any]] = []
        """Those that nobody has confirmed."""
        self.stored: dict[str, bytes] = {}
        """Path to contents of files."""
        self.actions: list[tuple[int, str]] = []
        self.queries: dict[str, dict[str, Any]] = {}
        """Presses of buttons to what they were answered with."""
        self.webhook: dict[str, Any] = {}
        self.reached_at = ""
        """Where posts to the webhook really go: the server with TLS stands before it."""
        self.allowed: list[str] | None = None
        self.blocked: set[int] = set()
        self.gone: set[int] = set()
        """Topics that were removed."""
        self._next_update = 770_000_001
        self.media: list[tuple[str, bytes]] = []
        """Media type and bytes of what the bot has sent beside text."""
        self._pollers = 0

    # -- what the test does and sees

    def push(self, kind: str, body: dict[str, Any]) -> int:
        """Something has happened; the number of its update."""
        with self.changed:
            number = self._next_update
            self._next_update += 1
            self.updates.append({"update_id": number, kind: body})
            self.changed.notify_all()
        if self.webhook:
            threading.Thread(target=self.post_updates, daemon=True).start()
        return number

    def message(self, text: str = "", *, author: Any = ANN, chat: Any = PRIVATE, **more: Any) -> dict[str, Any]:
        """A message that somebody writes, kept and not yet reported."""
        with self.changed:
            number = next(_numbers)
            body = {"message_id": number, "date": int(time.time()), "chat": chat, "from": author}
            if text:
                plain, entities = parse(text, "")
                body |= {"text": plain} | ({"entities": entities} if entities else {})
            body |= more
            self.messages.setdefault(chat["id"], {})[number] = body
        return body

    def say(self, text: str = "", **more: Any) -> dict[str, Any]:
        """Somebody writes."""
        body = self.message(text, **more)
        self.push("message", body)
        return body

    def press(self, message: dict[str, Any], row: int = 0, column: int = 0, person: Any = ANN, data: str = "") -> str:
        """Somebody presses a button below a message; the number of the press."""
        data = data or message["reply_markup"]["inline_keyboard"][row][column]["callback_data"]
        query = str(8_000_000 + len(self.queries))
        self.queries[query] = {}
        self.push(
            "callback_query", {"id": query, "from": person, "message": message, "chat_instance": "1", "data": data}
        )
        return query

    def store(self, data: bytes, file_id: str) -> str:
        self.stored[f"files/{file_id}"] = data
        return file_id

    def written(self, chat: int | None = None) -> list[dict[str, Any]]:
        """What the bot's readers see, oldest first."""
        with self.changed:
            places = [chat] if chat is not None else list(self.messages)
            found = [body for place in places for body in self.messages.get(place, {}).values()]
        return [body for body in found if body["from"]["id"] == BOT["id"]]

    def texts(self, chat: int | None = None) -> list[str]:
        return [body.get("text", body.get("caption", "")) for body in self.written(chat)]

    # -- the methods

    def do(self, method: str, params: dict[str, Any]) -> Any:
        name = re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", method)
        call = getattr(self, f"_{name}", None) if name != method else None
        if call is None:
            raise Problem("Not Found: method not found", 404)
        return call(params)

    def _get_me(self, params: dict[str, Any]) -> Any:
        return self.me

    def _get_updates(self, params: dict[str, Any]) -> Any:
        if self.webhook:
            raise Problem(
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the "
                "webhook first",
                409,
            )
        offset, limit = int(params.get("offset") or 0), int(params.get("limit") or 100)
        deadline = time.monotonic() + float(params.get("timeout") or 0)
        with self.changed:
            self._pollers += 1
            mine = self._pollers
            self.changed.notify_all()
            if "allowed_updates" in params:
                self.allowed = params["allowed_updates"] or None
            if offset < 0:
                offset = self.updates[offset]["update_id"] if len(self.updates) >= -offset else 0
            self.updates = [update for update in self.updates if update["update_id"] >= offset]

            def found() -> list[dict[str, Any]]:
                return [update for update in self.updates if self._wanted(update)][:limit]

            while not (updates := found()) and time.monotonic() < deadline:
                self.changed.wait(min(0.5, max(0.0, deadline - time.monotonic())))
                if mine != self._pollers:
                    raise Problem(
                        "Conflict: terminated by other getUpdates request; make sure that only one bot instance is "
                        "running",
                        409,
                    )
                if self.interrupted:
                    break
            self.interrupted = False
            return updates

    def interrupt(self) -> None:
        """The call that waits for news is answered now, as it is."""
        with self.changed:
            self.interrupted = True
            self.changed.notify_all()

    def _wanted(self, update: dict[str, Any]) -> bool:
        return self.allowed is None or any(kind in update for kind in self.allowed)

    def _send_message(self, params: dict[str, Any]) -> Any:
        return self._post(params, self._content(params, "text"))

    def _send_file(self, params: dict[str, Any], key: str) -> Any:
        file = params.get(key)
        if not file:
            raise Problem(f"Bad Request: there is no {key} in the request")
        if isinstance(file, str):
            file = {"data": b"fetched by Telegram", "file_name": file.rsplit("/", 1)[-1], "mime_type": "x/y"}
        number = f"sent{len(self.stored)}"
        self.media.append((file["mime_type"], file["data"]))
        self.store(file["data"], number)
        kept: Any = {"file_id": number, "file_unique_id": number, "file_size": len(file["data"])}
        if key == "photo":
            kept = [{**kept, "width": 1, "height": 1}]
        elif key in ("audio", "voice"):
            kept["duration"] = 1
        if key in ("audio", "document"):
            kept |= {"file_name": file["file_name"], "mime_type": file["mime_type"]}
        content = self._content(params, "caption") if params.get("caption") else {}
        return self._post(params, {key: kept, **content})

    def _content(self, params: dict[str, Any], key: str) -> dict[str, Any]:
        """The text of a message, read as it asks for."""
        try:
            text, entities = parse(str(params.get(key) or ""), str(params.get("parse_mode") or ""))
        except Unparsable as error:
            raise Problem(f"Bad Request: can't parse entities: {error}") from None
        text = text.rstrip()
        if key == "text" and not text.strip():
            raise Problem("Bad Request: message text is empty")
        limit = 4096 if key == "text" else 1024
        if units(text) > limit:
            raise Problem(f"Bad Request: {'message' if key == 'text' else 'message caption'} is too long")
        name = "entities" if key == "text" else "caption_entities"
        return {key: text} | ({name: entities} if entities else {})

    def _post(self, params: dict[str, Any], content: dict[str, Any]) -> Any:
        chat = self._chat(params)
        more: dict[str, Any] = {}
        if params.get("message_thread_id") in self.gone:
            raise Problem("Bad Request: message thread not found")
        if thread := params.get("message_thread_id"):
            more |= {"message_thread_id": int(thread), "is_topic_message": True}
        if markup := params.get("reply_markup"):
            more["reply_markup"] = _keyboard(markup)
        if answered := params.get("reply_parameters"):
            found = self.messages.get(chat["id"], {}).get(int(answered["message_id"]))
            if found is None and not answered.get("allow_sending_without_reply"):
                raise Problem("Bad Request: message to be replied not found")
            if found is not None:
                more["reply_to_message"] = {key: value for key, value in found.items() if key != "reply_to_message"}
        body = self.message(author=BOT, chat=chat, **content, **more)
        with self.changed:
            self.changed.notify_all()
        return body

    def _chat(self, params: dict[str, Any]) -> dict[str, Any]:
        chat = self.chats.get(int(params.get("chat_id") or 0))
        if chat is None:
            raise Problem("Bad Request: chat not found")
        if "migrated" in chat:
            text = "Bad Request: group chat was upgraded to a supergroup chat"
            raise Problem(text, migrate_to_chat_id=chat["migrated"])
        if chat["id"] in self.blocked:
            raise Problem("Forbidden: bot was blocked by the user", 403)
        return chat

    def _own(self, params: dict[str, Any], verb: str) -> dict[str, Any]:
        chat = self._chat(params)
        body = self.messages.get(chat["id"], {}).get(int(params.get("message_id") or 0))
        if body is None:
            raise Problem(f"Bad Request: message to {verb} not found")
        if body["from"]["id"] != BOT["id"]:
            raise Problem(f"Bad Request: message can't be {verb}ed" if verb == "edit" else "Bad Request: not yours")
        return body

    def _edit_message_text(self, params: dict[str, Any]) -> Any:
        body = self._own(params, "edit")
        content = self._content(params, "text")
        markup = {"reply_markup": _keyboard(params["reply_markup"])} if params.get("reply_markup") else {}
        keys = ("text", "entities", "reply_markup")
        if {key: body[key] for key in keys if key in body} == {**content, **markup}:
            raise Problem(NOT_MODIFIED)
        with self.changed:
            for key in keys:
                body.pop(key, None)
            body |= {**content, **markup, "edit_date": int(time.time())}
            self.changed.notify_all()
        return body

    def _edit_message_reply_markup(self, params: dict[str, Any]) -> Any:
        body = self._own(params, "edit")
        with self.changed:
            body.pop("reply_markup", None)
            if params.get("reply_markup"):
                body["reply_markup"] = _keyboard(params["reply_markup"])
            self.changed.notify_all()
        return body

    def _delete_message(self, params: dict[str, Any]) -> Any:
        body = self._own(params, "delete")
        with self.changed:
            del self.messages[body["chat"]["id"]][body["message_id"]]
            self.changed.notify_all()
        return True

    def _send_chat_action(self, params: dict[str, Any]) -> Any:
        self.actions.append((self._chat(params)["id"], str(params.get("action"))))
        return True

    def _answer_callback_query(self, params: dict[str, Any]) -> Any:
        query = str(params.get("callback_query_id"))
        if query not in self.queries:
            raise Problem("Bad Request: query is too old and response timeout expired or query ID is invalid")
        with self.changed:
            self.queries[query] = {"answered": True, "text": params.get("text", "")}
            self.changed.notify_all()
        return True

    def _get_file(self, params: dict[str, Any]) -> Any:
        path = f"files/{params.get('file_id')}"
        if path not in self.stored:
            raise Problem("Bad Request: wrong file_id or the file is temporarily unavailable")
        if len(self.stored[path]) > 20_000_000:
            raise Problem("Bad Request: file is too big")
        size = len(self.stored[path])
        return {"file_id": params["file_id"], "file_unique_id": "u", "file_size": size, "file_path": path}

    def _set_webhook(self, params: dict[str, Any]) -> Any:
        url, secret = str(params.get("url") or ""), str(params.get("secret_token") or "")
        if url and not url.startswith("https://"):
            raise Problem("Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        if not re.fullmatch(r"[A-Za-z0-9_-]{0,256}", secret):
            raise Problem("Bad Request: secret token contains unallowed characters")
        with self.changed:
            self.webhook = {"url": url, "secret_token": secret} if url else {}
            self.allowed = params.get("allowed_updates") or None
            self._pollers += 1
            self.changed.notify_all()
        if self.webhook and self.updates:
            threading.Thread(target=self.post_updates, daemon=True).start()
        return True

    def _delete_webhook(self, params: dict[str, Any]) -> Any:
        with self.changed:
            self.webhook = {}
            if params.get("drop_pending_updates"):
                self.updates = []
            self.changed.notify_all()
        return True

    def _get_webhook_info(self, params: dict[str, Any]) -> Any:
        error = {"last_error_message": self.webhook["error"], "last_error_date": 1} if "error" in self.webhook else {}
        return {
            "url": self.webhook.get("url", ""),
            "has_custom_certificate": False,
            "pending_update_count": len(self.updates),
            **error,
        }

    # -- posting to the webhook

    def post_updates(self) -> None:
        """Each update that waits, once, at the same time, as Telegram does; what is not answered with 2xx stays."""
        with self.changed:
            waiting = [update for update in self.updates if self._wanted(update) and not update.get("posting")]
            for update in waiting:
                update["posting"] = True
        threads = [threading.Thread(target=self._post_update, args=(update,), daemon=True) for update in waiting]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _post_update(self, update: dict[str, Any]) -> None:
        where = urlsplit(self.reached_at)
        status = 0
        body = json.dumps({key: value for key, value in update.items() if key != "posting"})
        headers = {"Content-Type": "application/json"}
        headers["X-Telegram-Bot-Api-Secret-Token"] = self.webhook.get("secret_token", "")
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
            connection.request("POST", where.path, body, headers)
            status = connection.getresponse().status
            connection.close()
        with self.changed:
            update.pop("posting", None)
            if 200 <= status < 300:
                self.updates = [each for each in self.updates if each["update_id"] != update["update_id"]]
            elif self.webhook:
                self.webhook["error"] = f"Wrong response from the webhook: {status}"
            self.changed.notify_all()


def _method_of(key: str) -> Any:
    def send(self: Methods, params: dict[str, Any]) -> Any:
        return self._send_file(params, key)

    return send


for _key in ("photo", "audio", "voice", "document"):
    setattr(Methods, f"_send_{_key}", _method_of(_key))


def _keyboard(markup: dict[str, Any]) -> dict[str, Any]:
    for row in markup.get("inline_keyboard", []):
        for button in row:
            if not button.get("text"):
                raise Problem('Bad Request: can\'t parse inline keyboard button: Field "text" must be of type String')
            if len(str(button.get("callback_data", "x")).encode()) > 64:
                raise Problem("Bad Request: BUTTON_DATA_INVALID")
    return markup
