"""IRC in and out: TLS, SASL, channels and direct messages.

Layers, from low to high: `_wire` (lines), `_text` (what fits into one) and `_options`; `_login` (the dialogue of a new
connection, without any input or output), `_standing` (who and where we are), `_flood`, `_batches`, `_people` (who
speaks) and `_delivery` (what became of one message); `_link` (one connection); `_hearing` (which lines are messages);
`_channel`; `plugin`. Imports the public names of the core only; nothing imports this package.

Sources: RFC 1459 and RFC 2812, https://modern.ircdocs.horse, and the specifications at https://ircv3.net/irc.
"""
