"""Who may talk to an agent: pairing by a code, lists of people.

Layers, from low to high: `_state` (what is kept, as data and as JSON); `_book` (the file, shared by processes);
`_options`; `_policy` and `operations`; `plugin`. Imports the public names of the core only; nothing imports this
package.
"""
