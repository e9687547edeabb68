"""A tool on asyncio, for version 1.0 of the plugin API."""
