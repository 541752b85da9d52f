"""Tells administrators by e-mail and webhook what needs them, without patient data."""
