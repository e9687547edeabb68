"""A channel of pagers over TCP. It uses the public names of Fairlead alone."""
