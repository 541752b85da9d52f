"""Heads to train the brain network on, as scanners might send them: synthetic ones from label maps, and real ones."""
