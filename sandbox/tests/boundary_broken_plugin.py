"""A plugin that cannot be imported: it is asked to, by name, in tests of what a host is then told."""

raise SystemExit("no plugin of mine")
