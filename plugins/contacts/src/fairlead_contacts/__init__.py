"""Who may talk to an agent: pairing by a code, lists of people."""
