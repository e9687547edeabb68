"""Limits on money, tokens and requests: reserved before each call of a model, settled after it.

Layers, from low to high: `_errors`, `_amounts` (what is counted), `_windows` (when a budget begins anew); `_options`;
`_estimate` (how much a request can be), `_file` (the database) and `_presence` (which processes live); `_ledger` (what
happens in one transaction) and `_audit` (the same figures from the entries alone); `_words` (what people read) and
`_clerk` (one transaction for all who wait); `_policy` and `operations`; `plugin`. Imports the public names of the core
only; nothing imports this package. apsw is imported when a ledger is opened.
"""
