"""An offline provider that answers without a model and says so.

Imports the public names of the core only; nothing imports this package.
"""
