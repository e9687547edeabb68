"""The tables, and the steps from one version of the file to the next.

Words are written once, at the end of their table, and are only ever overwritten in place with as many zeros. So
SQLite never moves a row that holds words from one page to another: a moved row leaves its bytes behind in the old
page, also with ``secure_delete`` (measured: 40 stale copies in 8,000 rows clustered by session), and an erased session
would stay readable in the file. The space of what was erased is given back by ``VACUUM``.
"""

from __future__ import annotations

__all__ = ["APPLICATION_ID", "ROW_WIDTH", "STEPS"]

APPLICATION_ID = 0x466C6431
"""``Fld1``: marks a file as ours (https://www.sqlite.org/fileformat2.html#application_id)."""

ROW_WIDTH = 9
"""Columns of the view `appends`."""

_JOURNAL = """
CREATE TABLE sessions (
  num INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: the keys of an erased session must not find another one
  id TEXT NOT NULL UNIQUE,
  version INTEGER NOT NULL,
  pending INTEGER NOT NULL,
  instance TEXT,                          -- who has the unfinished work
  owner TEXT NOT NULL,
  created REAL NOT NULL,
  updated REAL NOT NULL
) STRICT;
CREATE INDEX sessions_by_owner ON sessions(owner) WHERE owner <> '';  -- who has no owners shall not pay for it

CREATE TABLE events (
  place INTEGER PRIMARY KEY,
  num INTEGER NOT NULL,
  version INTEGER NOT NULL,               -- of the last event in it
  body BLOB NOT NULL                      -- the events of one append, a line of JSON each; zeros once it is erased
) STRICT;
CREATE UNIQUE INDEX events_by_session ON events(num, version);

CREATE TABLE keys (
  hash BLOB PRIMARY KEY,
  num INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for each event to append. As one INSERT of many rows is one transaction and one call of SQLite, the writer
-- takes and gives the interpreter's lock once a group, not once a row.
CREATE VIEW appends AS SELECT
  NULL AS session, NULL AS expected, NULL AS pending, NULL AS instance, NULL AS owner, NULL AS at, NULL AS hash,
  NULL AS body;
CREATE TRIGGER append INSTEAD OF INSERT ON appends WHEN NEW.session IS NOT NULL BEGIN
  SELECT RAISE(ABORT, 'version')
    WHERE NEW.expected <> COALESCE((SELECT version FROM sessions WHERE id = NEW.session), 0);
  -- Not an upsert: with AUTOINCREMENT that takes a number also where it then updates, and writes a page for it.
  INSERT INTO sessions (id, version, pending, instance, owner, created, updated)
    SELECT NEW.session, 1, NEW.pending, NEW.instance, NEW.owner, NEW.at, NEW.at
    WHERE NEW.expected = 0 AND NEW.body IS NOT NULL;
  UPDATE sessions SET
      version = version + (NEW.body IS NOT NULL), pending = NEW.pending, instance = NEW.instance, updated = NEW.at
    WHERE id = NEW.session AND NEW.expected > 0;
  INSERT INTO keys SELECT NEW.hash, num FROM sessions WHERE id = NEW.session AND NEW.hash IS NOT NULL;
  INSERT INTO events (num, version, body)
    SELECT num, NEW.expected + 1, NEW.body FROM sessions WHERE id = NEW.session AND NEW.body IS NOT NULL;
END;
"""

_RECALL = """
CREATE TABLE notes (
  num INTEGER PRIMARY KEY,
  scope TEXT NOT NULL,
  id TEXT NOT NULL,
  at REAL NOT NULL,
  live INTEGER NOT NULL,                  -- 0 and 1 take the same space, so that the row can be overwritten in place
  ring TEXT NOT NULL,                     -- the scope as one word for the full-text index
  text BLOB NOT NULL,
  tags BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX notes_by_id ON notes(scope, id) WHERE live;
CREATE INDEX notes_by_time ON notes(scope, at) WHERE live;
CREATE VIEW live_notes AS
  SELECT num, ring, CAST(text AS TEXT) AS text, CAST(tags AS TEXT) AS tags FROM notes WHERE live;
CREATE VIRTUAL TABLE words USING fts5(
  ring, text, tags, content = 'live_notes', content_rowid = 'num', tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
"""

# A row of `events` has the lines of a whole append, with the version of its last event; the rows of version 1 have one
# line each and read the same. Some files of version 1 have this view already: made before the first release.
_WHOLE_APPENDS = """
DROP VIEW appends;                        -- and its trigger with it
-- One row for each append, more for a large one and for each further key. As one INSERT of many rows is one transaction
-- and one call of SQLite, the writer takes and gives the interpreter's lock once a group, not once a row.
CREATE VIEW appends AS SELECT
  NULL AS session, NULL AS expected, NULL AS pending, NULL AS instance, NULL AS owner, NULL AS at, NULL AS hash,
  NULL AS body, NULL AS events;           -- how many there are in the body
CREATE TRIGGER append INSTEAD OF INSERT ON appends WHEN NEW.session IS NOT NULL BEGIN
  SELECT RAISE(ABORT, 'version')
    WHERE NEW.expected <> COALESCE((SELECT version FROM sessions WHERE id = NEW.session), 0);
  -- Not an upsert: with AUTOINCREMENT that takes a number also where it then updates, and writes a page for it.
  INSERT INTO sessions (id, version, pending, instance, owner, created, updated)
    SELECT NEW.session, NEW.events, NEW.pending, NEW.instance, NEW.owner, NEW.at, NEW.at
    WHERE NEW.expected = 0 AND NEW.body IS NOT NULL;
  UPDATE sessions SET
      version = version + NEW.events, pending = NEW.pending, instance = NEW.instance, updated = NEW.at
    WHERE id = NEW.session AND NEW.expected > 0;
  INSERT INTO keys SELECT NEW.hash, num FROM sessions WHERE id = NEW.session AND NEW.hash IS NOT NULL;
  INSERT INTO events (num, version, body)
    SELECT num, NEW.expected + NEW.events, NEW.body FROM sessions WHERE id = NEW.session AND NEW.body IS NOT NULL;
END;
"""

STEPS: tuple[str, ...] = (_JOURNAL + _RECALL, _WHOLE_APPENDS)
"""Step n, counted from 0, makes version n + 1 of the file out of version n. A released step is never changed."""
