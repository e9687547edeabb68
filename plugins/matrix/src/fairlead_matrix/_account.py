"""The login: who we are, on which device, and what happens when the token is known no more."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import trio
from attrs import define, field

from fairlead.errors import FairleadError
from fairlead_matrix._api import Api, Broken, Caller, Refused, path_of
from fairlead_matrix._json import load_file, save_file, texted
from fairlead_matrix._options import Options

__all__ = ["Account", "LoggedOut"]

UNAUTHORIZED, FORBIDDEN = 401, 403

log = logging.getLogger(__name__)


class LoggedOut(FairleadError):
    """The homeserver takes neither token nor password. Somebody has to do something."""


@define(eq=False)
class Account(Caller):
    """Requests in the name of one user. The device stays the same over restarts: transaction ids belong to it."""

    options: Options
    api: Api
    user_id: str = ""
    """Empty until the first request."""
    device_id: str = ""
    _lock: trio.Lock = field(factory=trio.Lock)

    async def exchange(self, method: str, path: str, content: bytes | None = None, **more: Any) -> tuple[bytes, str]:
        """As `Api.exchange`, logged in, and so is `call`. `LoggedOut` beside its errors."""
        await self.ensure()
        token = self.api.token
        try:
            return await self.api.exchange(method, path, content, **more)
        except Refused as refused:
            await self._renew(refused, token)
        return await self.api.exchange(method, path, content, **more)

    async def ensure(self) -> None:
        """Be logged in: with the configured token, the kept one, or the password."""
        async with self._lock:
            if self.user_id:
                return
            kept = self._kept()
            secret = self.options.access_token
            self.api.token = secret.reveal() if secret is not None else texted(kept, "access_token")
            try:
                if not self.api.token:
                    await self._log_in(texted(kept, "device_id"))
                    return
                found = await self.api.call("GET", path_of("account", "whoami"))
            except Refused as refused:
                if refused.errcode != "M_UNKNOWN_TOKEN":
                    raise
                await self._log_in(texted(kept, "device_id"))
                return
            self._is(texted(found, "user_id"), texted(found, "device_id"))

    async def _renew(self, refused: Refused, token: str) -> None:
        """Log in again where the token is known no more; raises `refused` where it is about something else."""
        if refused.errcode != "M_UNKNOWN_TOKEN":
            raise refused
        async with self._lock:
            if self.api.token == token:  # else somebody was faster
                how = "has run out" if refused.soft else "was ended by somebody"
                log.warning("%s: the login of %s %s; logging in again", self.options.name, self.user_id, how)
                await self._log_in(self.device_id)

    async def _log_in(self, device_id: str) -> None:
        options, self.api.token, self.user_id = self.options, "", ""
        if options.password is None or options.access_token is not None:
            source = options.access_token.source if options.access_token is not None else "the configuration"
            raise LoggedOut(
                f"the homeserver does not know the access token from {source}: it is wrong, or was ended",
                next_step=f"put a new one there, or set `user` and `password` in [channels.{options.name}]",
            )
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": options.user},
            "password": options.password.reveal(),
            "initial_device_display_name": options.device_name,
            **({"device_id": device_id} if device_id else {}),
        }
        try:
            found = await self.api.call("POST", path_of("login"), body)
        except Refused as refused:
            if refused.status not in {UNAUTHORIZED, FORBIDDEN}:
                raise
            raise LoggedOut(
                f"the homeserver does not let {options.user!r} log in: {refused.problem}",
                next_step=f"check `user` and `password` in [channels.{options.name}]",
            ) from refused
        self.api.token = texted(found, "access_token")
        self._is(texted(found, "user_id"), texted(found, "device_id"))
        kept = {"homeserver": options.homeserver, "user": options.user, "user_id": self.user_id}
        kept |= {"device_id": self.device_id, "access_token": self.api.token}
        await trio.to_thread.run_sync(save_file, options.directory / "login.json", kept)

    def _is(self, user_id: str, device_id: str) -> None:
        wanted = self.options.user
        if not user_id.startswith("@") or not self.api.token:
            raise Broken(f"the homeserver did not say who is logged in: {user_id[:100]!r}")
        if wanted.startswith("@") and wanted != user_id:
            problem = f"the token belongs to {user_id}, and `user` is {wanted}"
            raise LoggedOut(problem, next_step=f"make them agree in [channels.{self.options.name}]")
        self.user_id, self.device_id = user_id, device_id

    def _kept(self) -> Mapping[str, Any]:
        """The login of an earlier run, where it is one of the same user."""
        kept = load_file(self.options.directory / "login.json")
        same = (kept.get("homeserver"), kept.get("user")) == (self.options.homeserver, self.options.user)
        return kept if same and self.options.password is not None else {}
