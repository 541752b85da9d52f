"""Turns findings into objects for the PACS and for viewers."""
