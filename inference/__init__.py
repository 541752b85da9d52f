"""Volumes in, findings out: the only room that knows torch."""
