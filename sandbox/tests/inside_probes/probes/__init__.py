"""A plugin whose tools misbehave."""
