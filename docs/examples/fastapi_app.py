"""FastAPI: async and plain routes, and an answer that streams into the browser.

uvicorn fastapi_app:web --port 8000 --timeout-graceful-shutdown 5
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse

from fairlead import embed
from fairlead.config import Config, PluginConfig
from fairlead.errors import TurnError

# Or the path of your fairlead.toml. The rehearsal answers without a model: offline.
CONFIG = Config(plugins=(PluginConfig("providers", "rehearsal"),))
PAGE = """<!doctype html><title>Ask</title><form><input name=text value="say hello"></form><pre></pre><script>
document.forms[0].onsubmit = event => {
  const out = document.querySelector("pre"), text = encodeURIComponent(event.target.text.value)
  const source = new EventSource("/stream?text=" + text)
  source.onmessage = message => out.textContent += JSON.parse(message.data)
  source.addEventListener("end", () => source.close()); return false
}</script>"""


async def seats(room: str, seconds: float = 0.0) -> str:
    """Look up the free seats of a room: a coroutine of this host, on its own loop.

    :param room: Its name.
    :param seconds: How slow the database is today.
    """
    await asyncio.sleep(seconds)
    return f"{room} has {len(room)} free seats"


@asynccontextmanager
async def lifespan(web: FastAPI) -> AsyncIterator[None]:
    async with embed.start_async(CONFIG, tools=[seats]) as web.state.agent:
        yield  # at the server's end, what still runs may finish


web = FastAPI(lifespan=lifespan)


@web.exception_handler(TurnError)
def no_answer(_: Request, error: TurnError) -> JSONResponse:
    return JSONResponse({"problem": error.problem, "session": error.session}, status_code=502)


@web.get("/")
def page() -> HTMLResponse:
    return HTMLResponse(PAGE)


@web.post("/ask")
async def ask(request: Request, text: str, session: str | None = None) -> dict[str, str]:
    reply = await request.app.state.agent.ask(text, session=session)
    return {"text": reply.text, "session": reply.session}


@web.post("/ask-plain")
def ask_plain(request: Request, text: str, session: str | None = None) -> dict[str, str]:
    reply = request.app.state.agent.blocking.ask(text, session=session, timeout=60.0)
    return {"text": reply.text, "session": reply.session}


@web.get("/stream")
async def stream(request: Request, text: str, session: str | None = None) -> StreamingResponse:
    async def events() -> AsyncIterator[str]:  # a browser that goes away ends it, and with it the turn
        async for piece in request.app.state.agent.stream(text, session=session):
            yield f"data: {json.dumps(piece.text)}\n\n"
        yield "event: end\ndata:\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
