"""Setting up a node beside the systems of a hospital."""
