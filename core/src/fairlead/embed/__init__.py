"""An app inside of a host that does not run trio: plain threads, asyncio, Django, a notebook.

The app runs on trio in a thread of its own, and the host calls into it:

    start          for threads and sync code: ``with embed.start(config) as app: app.ask("...")``
    start_async    for asyncio: ``async with embed.start_async(config) as app: await app.ask("...")``
    tool           a function of the host as a tool; one that is handed in as it is becomes one by itself
    to_host        how any other worker (a channel that is the host's own chat, a provider) calls the host

Its layers, from low to high: `_portal` (the thread, and the ways into it and out of it), `_faces` (the app as the host
sees it). A host on trio needs none of this: it has `fairlead.open`.
"""

from fairlead.embed._faces import App, AsyncApp, Stream, start, start_async, tool
from fairlead.embed._portal import to_host

__all__ = ["App", "AsyncApp", "Stream", "start", "start_async", "to_host", "tool"]
