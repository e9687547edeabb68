"""Arithmetic by a parser, never by eval.

Imports the public names of the core only; nothing imports this package.
"""
