"""How the channel is, for `fairlead doctor`. It asks nothing that a running channel would notice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import trio

from fairlead import Finding
from fairlead_telegram._api import Api, ApiError, Refused
from fairlead_telegram._options import Options
from fairlead_telegram._poll import denied

__all__ = ["examine"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SECONDS = 8.0
"""For all questions; the doctor has ten."""


async def examine(api: Api, options: Options, trouble: str) -> Sequence[Finding]:
    """`trouble`: why a channel that runs here gets no messages just now."""
    host = urlsplit(options.api_url).hostname or ""
    try:
        with trio.fail_after(SECONDS):
            me, hook = await api.call("getMe"), await api.call("getWebhookInfo")
    except Refused as error:
        mend = denied(options.name, error)
        step = mend.next_step if mend is not None else "wait, and look again with: fairlead doctor"
        return [Finding("token", ok=False, detail=str(error), next_step=step)]
    except (ApiError, trio.TooSlowError) as error:
        detail = str(error) or f"{host} did not answer within {SECONDS:.0f} s"
        return [Finding("telegram", ok=False, detail=detail, next_step=f"curl -sS {options.api_url}")]
    me, hook = _table(me), _table(hook)
    findings = [Finding("token", ok=True, detail=f"it is @{me.get('username')}, known to {host}")]
    findings.append(_webhook(options, hook) if options.webhook_url else _polling(hook, trouble))
    if options.api_url.startswith("http:") and host not in LOOPBACK:
        detail = f"plain HTTP to {host}: whoever is on the way can read the token"
        findings.append(Finding("transport", ok=True, detail=detail))
    if options.groups == "all":
        findings.append(_privacy(me))
    return findings


def _polling(hook: dict[str, Any], trouble: str) -> Finding:
    if url := str(hook.get("url") or ""):
        detail = f"a webhook at {urlsplit(url).hostname} takes the messages"
        step = "start the channel that had set it, or: curl https://api.telegram.org/bot$TELEGRAM_TOKEN/deleteWebhook"
        return Finding("polling", ok=False, detail=detail, next_step=step)
    if trouble:
        step = "stop other programs that use this token; look at the network of this machine"
        return Finding("polling", ok=False, detail=trouble, next_step=step)
    return Finding("polling", ok=True, detail=f"{hook.get('pending_update_count', 0)} updates wait at Telegram")


def _webhook(options: Options, hook: dict[str, Any]) -> Finding:
    url = str(hook.get("url") or "")
    if url != options.webhook_url:
        found = f"at {urlsplit(url).hostname}" if url else "nowhere"
        detail = f"Telegram sends the messages {found}, not to {options.webhook_url}"
        return Finding("webhook", ok=False, detail=detail, next_step="fairlead run, which sets it")
    if hook.get("last_error_message"):
        detail = f"Telegram could not deliver: {str(hook['last_error_message'])[:200]}"
        step = f"curl -v {options.webhook_url} from outside; it must reach {options.host}:{options.port}"
        return Finding("webhook", ok=False, detail=detail, next_step=step)
    return Finding("webhook", ok=True, detail=f"{hook.get('pending_update_count', 0)} updates wait at Telegram")


def _privacy(me: dict[str, Any]) -> Finding:
    if me.get("can_read_all_group_messages"):
        return Finding("groups", ok=True, detail="it sees all messages of its groups")
    step = (
        "send /setprivacy to @BotFather, choose Disable, and add the bot to its groups anew; or set groups = 'mention'"
    )
    detail = "groups = 'all' is set, but Telegram shows it only what is addressed to it (privacy mode)"
    return Finding("groups", ok=False, detail=detail, next_step=step)


def _table(found: object) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}
