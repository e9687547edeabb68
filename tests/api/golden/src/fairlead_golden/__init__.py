"""A plugin of every kind, for version 1.0 of the plugin API."""
