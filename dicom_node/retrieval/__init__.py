"""Fetches studies from other systems."""
