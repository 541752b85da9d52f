"""Studies: what the node holds of each, when it is ready, and its status."""
