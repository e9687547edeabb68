"""A policy with a rule of its own. It uses the public names of Fairlead alone."""
