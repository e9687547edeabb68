"""What happens, as lines of JSON.

Layers, from low to high: `_line` (one event as one line), `_files` (where lines go), `_observer` (a thread that
writes), `plugin`. Imports the public names of the core only; nothing imports this package.
"""
