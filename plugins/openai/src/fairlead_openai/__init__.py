"""Chat Completions: OpenAI and every server that speaks its protocol.

Imports the public names of the core only; nothing imports this package.
"""
