"""Files in, files out: what needs no running node."""
