"""Django: sync and async views, under an ASGI server or in the threads of a WSGI server.

uvicorn django_app:asgi --port 8000 or python django_app.py 8000
"""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator
from functools import cache
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from fairlead import embed
from fairlead.config import Config, PluginConfig

settings.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY="a demonstration has no secrets")
# Or the path of your fairlead.toml. The rehearsal answers without a model: offline.
CONFIG = Config(plugins=(PluginConfig("providers", "rehearsal"),))
STARTING = threading.Lock()


def seats(room: str) -> str:
    """Look up the free seats of a room: a function of this host, in a thread, where the ORM may be used.

    :param room: Its name.
    """
    return f"{room} has {len(room)} free seats"


@cache
def started() -> embed.App:
    return embed.start(CONFIG, tools=[seats])


def agent() -> embed.App:
    """The app of this process: started with its first request, and so after the server has forked its workers."""
    with STARTING:
        return started()


def ask(request: HttpRequest) -> HttpResponse:
    reply = agent().ask(request.GET["text"], session=request.GET.get("session"), timeout=60.0)
    return JsonResponse({"text": reply.text, "session": reply.session})


async def ask_async(request: HttpRequest) -> HttpResponse:
    reply = await agent().asyncio.ask(request.GET["text"], session=request.GET.get("session"))
    return JsonResponse({"text": reply.text, "session": reply.session})


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[str]:
        async for piece in agent().asyncio.stream(request.GET["text"]):
            yield piece.text

    return StreamingHttpResponse(pieces(), content_type="text/plain; charset=utf-8")


urlpatterns = [path("ask", ask), path("ask-async", ask_async), path("stream", stream)]
asgi = get_asgi_application()


class ThreadedServer(ThreadingMixIn, WSGIServer):
    """A thread for each request, as gunicorn's threads or mod_wsgi have them."""


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), get_wsgi_application(), ThreadedServer).serve_forever()
