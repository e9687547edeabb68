"""Mail in by IMAP and out by SMTP.

From the wire up, each module imports only from those above it:

    _html, _quotes          HTML and text, what is new and what is quoted
    _letter                 the head of a mail as it came: who, about what, in which thread
    _options                what the table of the configuration says
    _body                   the body of a mail: its text, and what is attached
    _proof                  whether it really comes from the address that it names
    _answer                 an answer as a mail
    _wire                   lines over TLS; _imap and _smtp speak their protocols over it
    _store                  what must survive a restart
    _pickup                 one mailbox, message by message, into the inbox
    _channel, plugin        the channel as the core sees it
"""
