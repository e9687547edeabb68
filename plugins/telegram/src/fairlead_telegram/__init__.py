"""Telegram in and out, by the Bot API."""
