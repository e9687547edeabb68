"""The command `fairlead` and the terminal channel.

Imports the public names of the core only; nothing imports this package.
"""
