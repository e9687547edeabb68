"""A tool that fetches pages from the hosts that the configuration names. It runs in a container."""

__all__: list[str] = []
