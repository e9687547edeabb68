"""Journal and recall on SQLite: durable, embedded, the default.

Imports the public names of the core only; nothing imports this package. Its floors, from low to high: `_tail` (of a
log that broke off) and `_file` (the file, its schema and its faults), `_salvage` (of a damaged file), `_log` (the
upkeep of its log), `_instances` (who is alive) and `_bell` (how a thread wakes tasks); `_clerk` (a thread with a
connection) and `_glance` (a quick look without one); `_writing` (group commit); `_journal` and `_recall`; `_memory`.
apsw is imported when a memory is opened, not before.
"""

from fairlead_sqlite._memory import SqliteMemory

__all__ = ["SqliteMemory"]
