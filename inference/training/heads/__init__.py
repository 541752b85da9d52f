"""Heads to learn the brain from, as scanners might send them: synthesised from label maps, and real ones."""
