"""Tools that work in the session's own directory: shell, Python, files. They run in a container."""

__all__: list[str] = []
