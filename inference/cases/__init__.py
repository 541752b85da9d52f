"""Annotated cases: volumes of one patient with what experts drew, whatever layout they lie in."""
