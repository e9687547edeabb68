"""IRC in and out: TLS, SASL, channels and direct messages."""
