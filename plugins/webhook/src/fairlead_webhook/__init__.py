"""HTTP in and HTTP out, signed.

Imports the public names of the core only; nothing imports this package.
"""
