"""Tumours removed from brains or implanted into others, and cavities that look like tumours."""
