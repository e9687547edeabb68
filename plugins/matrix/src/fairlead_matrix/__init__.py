"""Matrix rooms in and out, by the client-server API."""
