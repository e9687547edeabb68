"""Telegram in and out, by the Bot API.

Layers, from low to high: `_options`, `_api` (HTTP, and the token that nobody sees), `_state` (a small file); `_markup`,
`_updates` (JSON to what was said), `_pace`; `_people`, `_keyboards`, `_letter` (parts to messages); `_intake` (updates
to the inbox) and `_sender` (answers and drafts out); `_poll` and `_hook` (ways in), `_doctor`; `_channel`; `plugin`.
Imports the public names of the core only; nothing imports this package.
"""
