"""Notes that an agent writes down and finds again.

Imports the public names of the core only; nothing imports this package.
"""
