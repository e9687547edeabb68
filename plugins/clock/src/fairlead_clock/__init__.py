"""Date and time tools.

Imports the public names of the core only; nothing imports this package.
"""
