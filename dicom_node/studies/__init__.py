"""Studies: what is held of each, when it is ready, and where it stands."""
