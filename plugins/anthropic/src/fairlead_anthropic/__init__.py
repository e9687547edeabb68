"""The Messages API of Anthropic and of servers that speak it.

Imports the public names of the core only; nothing imports this package.
"""
