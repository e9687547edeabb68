"""Policies as data: allow, deny, ask and revise by indexed rules.

Imports the public names of the core only; nothing imports this package.
"""
