"""Matrix rooms in and out, by the client-server API.

Layers, from low to high: `_json`; `_options`; `_api` (requests, bounded); `_account` (the login); `_markdown`,
`_content` (the words of events, both ways; no network); `_rooms`, `_media`; `_reader` (an event as a message);
`_sync` (what comes) and `_writer` (what goes); `_channel`; `plugin`. Imports the public names of the core only;
nothing imports this package.
"""
