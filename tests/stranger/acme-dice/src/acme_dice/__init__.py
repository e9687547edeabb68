"""A tool that rolls dice. It uses the public names of Fairlead alone."""
