"""Journal and recall on SQLite: durable, embedded, the default.

Imports the public names of the core only; nothing imports this package.
"""
