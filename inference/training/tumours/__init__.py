"""Tumours taken out of brains, set into others, and what looks like one and is none."""
