"""Receives what arrives, stores it durably before the sender gets a success status, and files it."""
