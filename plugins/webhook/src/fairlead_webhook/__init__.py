"""HTTP in and HTTP out, signed.

Layers, from low to high: `_signing`; `_options`; `_body` (JSON to messages and back); `_desk` (requests that wait) and
`_post` (HTTP out), both on trio; `_server` (uvicorn in a thread of its own: the only module with asyncio); `_routes`
(the requests, in that thread); `_channel`; `plugin`. Imports the public names of the core only; nothing imports this
package.
"""
