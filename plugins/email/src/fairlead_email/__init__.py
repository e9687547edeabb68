"""Mail in by IMAP and out by SMTP."""
